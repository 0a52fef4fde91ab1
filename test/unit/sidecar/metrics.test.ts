// The metrics: by the conventions, each from what the journal keeps or siphond knows, and never a series that comes out of the
// blue.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { createMetrics, type Metrics, type Scraped } from '../../../src/sidecar/metrics.ts';
import {
  evictionOf,
  fillLabels,
  hookOperation,
  setLabels,
  verifyFailureOf,
} from '../../../src/sidecar/metrics-labels.ts';
import { judge } from '../../../src/trust/index.ts';
import type { StatusAnswer } from '../../../src/wire/api.ts';
import { OperatingError, type WireError } from '../../../src/wire/errors.ts';
import type { JobRecord } from '../../../src/wire/journal.ts';
import type { Proof } from '../../../src/wire/verify-api.ts';
import type { Base, SnapshotSet } from '../../../src/wire/vocabulary.ts';
import { breachesOf, parseExposition, valueOf } from '../../support/exposition.ts';

const STATUS: StatusAnswer = {
  version: '1.2.3',
  pid: 7,
  startedAtMs: 1_000_500,
  clusters: [
    { name: 'east', fsid: 'f', state: 'connected' },
    { name: 'we"st', state: 'unavailable', why: 'so' },
  ],
  libvirt: { state: 'connected' },
  cache: {
    path: '/bases',
    bases: 2,
    allocatedBytes: 300,
    limitBytes: 1000,
    freeBytes: 700,
    isMountedReadOnly: true,
  },
  abilities: [],
  fillGroup: { limits: [], absent: [] },
  jobsOpen: 1,
  paused: [{ work: 'fills', sinceMs: 5 }],
  spooled: 3,
  trust: { unverified: 2, unstated: 0, refused: [], problems: [] },
  problems: [],
};

function job(kind: JobRecord['kind'], more: Partial<JobRecord> = {}): JobRecord {
  const times = { createdAtMs: 1_000_000, updatedAtMs: 1_000_000 };
  return { id: 'j', kind, subject: 's', state: 'done', step: 'x', data: {}, ...times, ...more };
}

function base(more: Partial<Base>): Base {
  const usual = { state: 'ready', allocatedBytes: 100, isPinned: false, leases: [] };
  return { ...usual, createdAtMs: 3000, ...more } as Base;
}

const SCRAPED: Scraped = {
  status: STATUS,
  bases: [],
  sets: [],
  openJobs: [],
  workerRestarts: { ceph: 0, libvirt: 0 },
  nowMs: 1_060_000,
};

const scrape = async (metrics: Metrics, more: Partial<Scraped> = {}) =>
  parseExposition(await metrics.text({ ...SCRAPED, ...more }));

const hookData = { what: 'fill', ask: { priority: 'hook' } };

describe('the metrics', () => {
  it('keep the conventions, empty and full', async () => {
    const metrics = createMetrics();
    assert.deepEqual(breachesOf(await scrape(metrics)), []);
    metrics.counts.hookAnswered('prepare', 'allow', 0.02);
    metrics.counts.hookAnswered('release', 'none', 20);
    metrics.counts.jobEnded(job('fill', { data: hookData }), 5);
    assert.deepEqual(breachesOf(await scrape(metrics)), []);
    assert.match(metrics.contentType, /^text\/plain; version=0\.0\.4/);
  });

  it('are all told of in docs/metrics.md, which tells of no others', async () => {
    const docs = await readFile(new URL('../../../docs/metrics.md', import.meta.url), 'utf8');
    const told = [...docs.matchAll(/^\| `(siphon_\w+)(?:\{([\w,]*)\})?`/gm)];
    const families = await scrape(createMetrics());
    const names = families.map((family) => family.name);
    assert.deepEqual(told.map(([, name = '']) => name).toSorted(), names.toSorted());
  });

  it('have every series of what they count from the start', async () => {
    const families = await scrape(createMetrics());
    const zero = { result: 'failed', way: 'check', asked_by: 'unknown' };
    assert.equal(valueOf(families, 'siphon_fills_total', zero), 0);
    assert.equal(valueOf(families, 'siphon_verify_failures_total', { kind: 'signature' }), 0);
    assert.equal(valueOf(families, 'siphon_evictions_total', { reason: 'room' }), 0);
    const set = { result: 'skipped', reason: 'from_snapshot' };
    assert.equal(valueOf(families, 'siphon_snapshot_sets_total', set), 0);
  });

  it('count ends of jobs, and bytes as they are read, each once', async () => {
    const metrics = createMetrics();
    const { counts } = metrics;
    const running = {
      ...job('fill', { state: 'open' }),
      progress: { doneBytes: 70, totalBytes: 90, readBytes: 40 },
    };
    counts.jobEnded(job('fill', { data: hookData }), 1000);
    counts.baseHeld(7);
    const families = await scrape(metrics, { openJobs: [running] });
    const fill = { result: 'done', way: 'fill', asked_by: 'hook' };
    assert.equal(valueOf(families, 'siphon_fills_total', fill), 1);
    assert.equal(valueOf(families, 'siphon_jobs_total', { kind: 'fill', result: 'done' }), 1);
    assert.equal(valueOf(families, 'siphon_base_bytes_total', { origin: 'ceph' }), 1040);
    assert.equal(valueOf(families, 'siphon_base_bytes_total', { origin: 'cache' }), 7);
    counts.jobEnded({ ...running, state: 'cancelled', data: hookData }, 90);
    const after = await scrape(metrics);
    assert.equal(valueOf(after, 'siphon_base_bytes_total', { origin: 'ceph' }), 1090);
    const evicted = job('evict', {
      data: { bases: ['a', 'b', 'c'], reason: 'room' },
      result: { evicted: ['a', 'b'] },
    });
    counts.jobEnded(evicted, 0);
    assert.equal(valueOf(await scrape(metrics), 'siphon_evictions_total', { reason: 'room' }), 2);
  });

  it('measure the hook, and name no operation that is none', async () => {
    const metrics = createMetrics();
    metrics.counts.hookAnswered('prepare', 'refuse', 0.3);
    metrics.counts.hookAnswered('madeup', 'allow', 0.001);
    const families = await scrape(metrics);
    const at = (le: string) =>
      valueOf(families, 'siphon_hook_duration_seconds_bucket', {
        operation: 'prepare',
        verdict: 'refuse',
        le,
      });
    assert.deepEqual([at('0.25'), at('0.5'), at('+Inf')], [0, 1, 1]);
    const other = { operation: 'other', verdict: 'allow' };
    assert.equal(valueOf(families, 'siphon_hook_duration_seconds_count', other), 1);
  });

  const setOf = (event: string, sizes: readonly number[]) => {
    // Of a disk of 20 it is known what is allocated.
    const disks = sizes.map((sizeBytes) =>
      sizeBytes === 20 ? { sizeBytes, allocatedBytes: 3 } : { sizeBytes },
    );
    const set = { event, disks, ...(event === 'manual' && { isProtected: true }) };
    return set as unknown as SnapshotSet;
  };

  it('tell what is here now', async () => {
    const lease = { domainUuid: 'u', domainName: 'n', kind: 'running' } as const;
    const families = await scrape(createMetrics(), {
      bases: [
        base({ isPinned: true, leases: [lease] }),
        base({ leases: [lease], allocatedBytes: 50 }),
        base({
          state: 'suspect',
          suspicion: { of: 'revoked', why: 'x' },
          createdAtMs: 1000,
          scrubbedAtMs: 2500,
        }),
        base({ state: 'filling', createdAtMs: 1 }),
      ],
      quarantined: [{ allocatedBytes: 7 }, { allocatedBytes: 4 }],
      sets: [setOf('release', [10, 20]), setOf('manual', [5])],
      openJobs: [job('fill', { state: 'open', createdAtMs: 1_030_000 }), job('fill')],
      workerRestarts: { ceph: 2, libvirt: 1 },
    });
    const is = (name: string, labels?: Record<string, string>) => valueOf(families, name, labels);
    assert.equal(is('siphon_build_info', { version: '1.2.3', node: process.versions.node }), 1);
    assert.equal(is('siphon_start_time_seconds'), 1000.5);
    assert.equal(is('siphon_cluster_connected', { cluster: 'we"st' }), 0);
    assert.equal(is('siphon_cluster_connected', { cluster: 'east' }), 1);
    assert.equal(is('siphon_paused', { work: 'fills' }), 1);
    assert.equal(is('siphon_paused', { work: 'snapshots' }), 0);
    assert.equal(is('siphon_sets', { asked_by: 'policy' }), 1);
    assert.equal(is('siphon_protected_sets'), 1);
    assert.equal(is('siphon_set_snapshots'), 3);
    assert.equal(is('siphon_set_bytes', { by: 'allocated' }), 3);
    assert.equal(is('siphon_set_bytes', { by: 'size' }), 15);
    assert.equal(is('siphon_spool_events'), 3);
    assert.deepEqual([is('siphon_pinned_bases'), is('siphon_pinned_bytes')], [1, 100]);
    assert.deepEqual([is('siphon_leased_bases'), is('siphon_leased_bytes')], [2, 150]);
    assert.equal(is('siphon_bases', { state: 'suspect' }), 1);
    assert.equal(is('siphon_suspect_bases', { of: 'revoked' }), 1);
    assert.equal(is('siphon_suspect_bases', { of: 'bytes' }), 0);
    assert.deepEqual([is('siphon_quarantined_files'), is('siphon_quarantined_bytes')], [2, 11]);
    assert.equal(is('siphon_scrub_oldest_time_seconds'), 2.5);
    assert.equal(is('siphon_scrub_last_time_seconds'), 2.5);
    assert.equal(is('siphon_cache_limit_bytes'), 1000);
    assert.equal(is('siphon_open_jobs', { kind: 'fill' }), 2);
    assert.equal(is('siphon_oldest_open_job_age_seconds', { kind: 'fill' }), 60);
    assert.equal(is('siphon_oldest_open_job_age_seconds', { kind: 'evict' }), 0);
    assert.equal(is('siphon_worker_restarts_total', { role: 'ceph' }), 2);
  });

  it('count what scrubs read, found and mended', async () => {
    const metrics = createMetrics();
    const damage = { chunkCount: 3 };
    const bases = [
      { outcome: 'good', readBytes: 10 },
      { outcome: 'mended', readBytes: 20, damage, mend: { way: 'mend', chunks: 3 } },
      { outcome: 'mended', readBytes: 5, damage, mend: { way: 'refill', chunks: 0 } },
      { outcome: 'damaged', readBytes: 7, damage },
    ];
    metrics.counts.jobEnded(job('scrub', { result: { bases } }), 0);
    metrics.counts.jobEnded(job('scrub', { state: 'cancelled' }), 0);
    const families = await scrape(metrics);
    const is = (name: string, labels?: Record<string, string>) => valueOf(families, name, labels);
    assert.equal(is('siphon_scrubs_total', { outcome: 'good' }), 1);
    assert.equal(is('siphon_scrubs_total', { outcome: 'mended' }), 2);
    assert.equal(is('siphon_scrubs_total', { outcome: 'failed' }), 0);
    assert.equal(is('siphon_scrub_bytes_total'), 42);
    assert.equal(is('siphon_scrub_chunks_total', { what: 'damaged' }), 9);
    assert.equal(is('siphon_scrub_chunks_total', { what: 'mended' }), 3);
  });

  it('say of each domain when a set of it was proven last', async () => {
    const metrics = createMetrics();
    const proof = (isProven: boolean, atMs: number) => ({ proof: { isProven, atMs } as Proof });
    const sets = [
      { ...setOf('manual', [1]), ...proof(true, 1_000) },
      { ...setOf('manual', [1]), ...proof(true, 5_000) },
      { ...setOf('manual', [1]), ...proof(false, 9_000) },
      setOf('manual', [1]),
    ].map((set) => ({ ...set, domainName: 'web', domainUuid: 'u' }));
    for (const [state, result] of [
      ['done', { isProven: true }],
      ['done', { isProven: false }],
      ['failed', undefined],
    ] as const) {
      metrics.counts.jobEnded(job('verify-restore', { state, result }), 0);
    }
    const families = await scrape(metrics, { sets });
    const proven = { domain: 'web', uuid: 'u' };
    assert.equal(valueOf(families, 'siphon_proven_time_seconds', proven), 5);
    for (const result of ['proven', 'unproven', 'failed'])
      assert.equal(valueOf(families, 'siphon_proofs_total', { result }), 1, result);
    assert.equal(valueOf(families, 'siphon_proofs_total', { result: 'cancelled' }), 0);
  });

  it('forget a cluster that is not configured any more', async () => {
    const metrics = createMetrics();
    await scrape(metrics);
    const families = await scrape(metrics, { status: { ...STATUS, clusters: [] } });
    const clusters = families.find((family) => family.name === 'siphon_cluster_connected');
    assert.deepEqual(clusters?.samples, []);
  });
});

describe('the labels of a job that ended', () => {
  const failureOf = (run: () => unknown): WireError => {
    try {
      run();
    } catch (error) {
      if (error instanceof OperatingError) return error.toWire();
      throw error;
    }
    throw new Error('it did not fail');
  };
  const from = 'operator' as const;

  it('name what of the bytes was wrong, in the words of those who checked them', () => {
    const hash = { kind: 'digest', algorithm: 'sha256', hex: 'aa' } as const;
    const digests = [{ algorithm: 'sha256', hex: 'bb', from }] as const;
    const digest = failureOf(() => judge({ digests }, [hash], 'x'));
    assert.equal(verifyFailureOf(digest), 'digest');
    const signature = { keyType: 'RSA-PSS', certificate: 'c', hash: 'sha256' } as never;
    const forged = failureOf(() =>
      judge({ digests: [], signature }, [{ kind: 'signature', isGood: false }], 'x'),
    );
    assert.equal(verifyFailureOf(forged), 'signature');
    const manifest = {
      keyId: 'k',
      dataBytes: 0,
      table: { sha256: 'aa', chunkBytes: 1, base64: '' },
    };
    const other = failureOf(() => judge({ digests: [], manifest }, [], 'x'));
    assert.equal(verifyFailureOf(other), 'manifest');
    assert.equal(verifyFailureOf({ code: 'corrupt', op: 'check', subject: 'x' }), 'record');
    assert.equal(verifyFailureOf({ code: 'corrupt', op: 'read source', subject: 'x' }), 'source');
    assert.equal(verifyFailureOf({ code: 'unavailable', op: 'verify', subject: 'x' }), undefined);
    assert.equal(verifyFailureOf(undefined), undefined);
  });

  it('tell fills from checks, and who asked', () => {
    const labels = (data: unknown) => Object.values(fillLabels(job('fill', { data })));
    assert.deepEqual(labels(hookData), ['done', 'fill', 'hook']);
    assert.deepEqual(labels({ what: 'check', baseId: 'b' }), ['done', 'check', 'unknown']);
  });

  it('tell a set that was decided against from one that failed', () => {
    const error = {
      code: 'refused',
      op: 'take',
      subject: 'x',
      why: 'skipped: paused: so',
    } as const;
    const data = { draft: { event: 'release', reason: 'from snapshot' } };
    assert.deepEqual(setLabels(job('snapshot', { state: 'failed', data, error })), {
      result: 'skipped',
      reason: 'from_snapshot',
    });
    const failed = { ...error, code: 'unavailable' } as const;
    assert.deepEqual(
      setLabels(
        job('snapshot', { state: 'failed', data: { draft: { event: 'manual' } }, error: failed }),
      ),
      { result: 'failed', reason: 'manual' },
    );
  });

  it('do with what an older siphon wrote', () => {
    assert.deepEqual(evictionOf(job('evict', { data: { bases: ['a'] } })), {
      reason: 'limit',
      bases: 0,
    });
    assert.deepEqual(setLabels(job('snapshot')), { result: 'done', reason: 'unknown' });
    assert.equal(hookOperation('release'), 'release');
  });
});
