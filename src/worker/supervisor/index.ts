// What siphond takes from this room: the supervisor, which loads no binding.

export { BACK_OFF, type BackOff, nextDelay } from './back-off.ts';
export type { ChildProgram, WorkerLog, WorkerProgram } from './body.ts';
export { WORKER_LIMITS, type WorkerLimits } from './limits.ts';
export { whyStuck } from './stuck.ts';
export { startWorker, type Worker, type WorkerOptions, type WorkerStats } from './worker.ts';
