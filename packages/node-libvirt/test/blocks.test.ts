// Disks and block jobs, on qcow2 files judged by qemu-img. QEMU needs no guest for them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  abortBlockJob,
  type BlockJobEvent,
  blockInfo,
  blockJob,
  blockStatistics,
  Connection,
  commitBlock,
  copyBlock,
  type Domain,
  pullBlock,
  resizeBlock,
  setBlockJobSpeed,
  VIR_ERR,
  watchBlockJobs,
  watchBlockJobsByPath,
} from '../src/index.ts';
import {
  defineTestDomain,
  diskXml,
  makeFolder,
  makeQcow2,
  run,
  testName,
  URI,
  until,
} from './lab.ts';

const MIB = 2 ** 20;

interface Disks {
  readonly domain: Domain;
  readonly folder: string;
  readonly base: string;
  readonly middle: string;
  readonly top: string;
}

/** A running domain whose disk is base <- middle <- top, with 8 MiB of data in the base, 4 in the middle. */
async function runOnChain(connection: Connection, stack: AsyncDisposableStack): Promise<Disks> {
  const folder = await makeFolder(stack);
  const base = await makeQcow2(`${folder}/base`, 64);
  await run('qemu-io', ['-f', 'qcow2', '-c', 'write -P 1 0 8M', base]);
  const middle = await makeQcow2(`${folder}/middle`, 64, base);
  await run('qemu-io', ['-f', 'qcow2', '-c', 'write -P 2 4M 4M', middle]);
  const top = await makeQcow2(`${folder}/top`, 64, middle);
  const domain = await defineTestDomain(connection, stack, testName(), diskXml(top));
  await domain.start();
  return { domain, folder, base, middle, top };
}

async function chainOf(file: string): Promise<string[]> {
  const { stdout } = await run('qemu-img', [
    'info',
    '-U',
    '--backing-chain',
    '--output=json',
    file,
  ]);
  return (JSON.parse(stdout) as { filename: string }[]).map(({ filename }) => filename);
}

async function watchBoth(
  connection: Connection,
): Promise<Record<'target' | 'path', BlockJobEvent[]>> {
  const heard = { target: [] as BlockJobEvent[], path: [] as BlockJobEvent[] };
  await watchBlockJobs(connection, (event) => heard.target.push(event));
  await watchBlockJobsByPath(connection, (event) => heard.path.push(event));
  return heard;
}

test('sizes are told, a resize is seen, reads are counted', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const { domain, top } = await runOnChain(connection, stack);
  assert.equal((await blockInfo(domain, 'vda')).capacityBytes, 64 * MIB);
  const { physicalBytes, allocationBytes } = await blockInfo(domain, top);
  assert(physicalBytes > 0 && physicalBytes < MIB && allocationBytes < MIB);
  await resizeBlock(domain, 'vda', 80 * MIB);
  assert.equal((await blockInfo(domain, 'vda')).capacityBytes, 80 * MIB);
  await until('the BIOS has read the disk', async () => {
    const { readOperations, readBytes } = await blockStatistics(domain, 'vda');
    return readOperations > 0 && readBytes >= 512;
  });
  const { writtenBytes, writeOperations, flushNs } = await blockStatistics(domain, 'vda');
  assert.deepEqual(
    { writtenBytes, writeOperations, flushNs },
    { writtenBytes: 0, writeOperations: 0, flushNs: 0 },
  );
  for (const call of [blockInfo, blockStatistics, blockJob] as const)
    await assert.rejects(call(domain, 'vdx'), { code: VIR_ERR.INVALID_ARG, message: /vdx/ });
  await domain.destroy();
  await assert.rejects(blockStatistics(domain, 'vda'), { code: VIR_ERR.OPERATION_INVALID });
  await assert.rejects(resizeBlock(domain, 'vda', MIB), { code: VIR_ERR.OPERATION_INVALID });
  const { stdout } = await run('qemu-img', ['info', '--output=json', top]);
  assert.equal((JSON.parse(stdout) as { 'virtual-size': number })['virtual-size'], 80 * MIB);
});

test('a pull is limited, looked at, aborted, and leaves the chain; a whole one makes the disk stand alone', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const { domain, base, middle, top } = await runOnChain(connection, stack);
  const heard = await watchBoth(connection);
  assert.equal(await blockJob(domain, 'vda'), null);
  await assert.rejects(abortBlockJob(domain, 'vda'), { code: VIR_ERR.INVALID_ARG });
  await pullBlock(domain, 'vda', { bytesPerSecondMax: MIB });
  const job = await blockJob(domain, 'vda');
  assert.equal(job?.type, 'pull');
  assert.equal(job.bytesPerSecondMax, MIB);
  assert(job.at < job.end);
  await assert.rejects(pullBlock(domain, 'vda'), { code: VIR_ERR.OPERATION_UNSUPPORTED });
  await abortBlockJob(domain, 'vda');
  await until('the abort is told', () => heard.target.some(({ status }) => status === 'canceled'));
  assert.deepEqual(await chainOf(top), [top, middle, base]);

  await pullBlock(domain, 'vda', { bytesPerSecondMax: MIB });
  await setBlockJobSpeed(domain, 'vda', 0);
  const done = { uuid: domain.uuid, name: domain.name, job: 'pull', status: 'completed' };
  await until('the pull is told twice', () => heard.target.length === 2 && heard.path.length === 2);
  assert.deepEqual(heard.target.at(-1), { ...done, disk: 'vda' });
  assert.deepEqual(heard.path.at(-1), { ...done, disk: top });
  assert.equal(await blockJob(domain, 'vda'), null);
  assert.deepEqual(await chainOf(top), [top]);
});

test('layers are committed: those between, and the active one, which is pivoted from', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const { domain, folder, base, middle, top } = await runOnChain(connection, stack);
  const heard = await watchBoth(connection);
  await assert.rejects(commitBlock(domain, 'vda', { base: `${folder}/none` }), {
    name: 'LibvirtError',
  });
  await commitBlock(domain, 'vda', { base, top: middle });
  await until('the commit is told', () => heard.target.at(-1)?.status === 'completed');
  assert.equal(heard.target.at(-1)?.job, 'commit');
  assert.deepEqual(await chainOf(top), [top, base]);
  await commitBlock(domain, 'vda', { isActive: true, isShallow: true });
  await until('it is ready', () => heard.target.at(-1)?.status === 'ready');
  assert.deepEqual((await blockJob(domain, 'vda'))?.type, 'active commit');
  await abortBlockJob(domain, 'vda', { pivots: true });
  await until('it has pivoted', () => heard.target.at(-1)?.status === 'completed');
  assert.equal(heard.target.at(-1)?.job, 'active commit');
  assert.match(await domain.xml(), new RegExp(`<source file='${base}'`));
  await domain.destroy();
  await run('qemu-io', [
    '-r',
    '-f',
    'qcow2',
    '-c',
    'read -P 1 0 4M',
    '-c',
    'read -P 2 4M 4M',
    base,
  ]);
});

test('a disk is copied elsewhere, and pivoted to', async () => {
  await using connection = await Connection.open(URI);
  await using stack = new AsyncDisposableStack();
  const { domain, folder } = await runOnChain(connection, stack);
  const heard = await watchBoth(connection);
  const copy = `${folder}/copy`;
  const target = `<disk type='file'><driver type='qcow2'/><source file='${copy}'/></disk>`;
  await assert.rejects(copyBlock(domain, 'vda', '<disk/>', { isTransient: true }), {
    name: 'LibvirtError',
  });
  await copyBlock(domain, 'vda', target, { isTransient: true });
  await until('it is ready', () => heard.target.at(-1)?.status === 'ready');
  await abortBlockJob(domain, 'vda', { pivots: true });
  await until('it has pivoted', () => heard.target.at(-1)?.status === 'completed');
  assert.equal(heard.target.at(-1)?.job, 'copy');
  await domain.destroy();
  assert.deepEqual(await chainOf(copy), [copy]);
});
