// The spool: in order, once recorded removed, what is unreadable set aside, and nothing lost by a failure.

import assert from 'node:assert/strict';
import { mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { HookEvent } from '../../../src/hook/events.ts';
import { openSpool } from '../../../src/sidecar/spool.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import { keptLog, temporaryFolder } from './support/quiet.ts';

const UUID = '0b3f3c3e-6a39-4f5c-9d0e-6f3c8f1d2a11';
const xmlOf = (name: string) =>
  `<domain type='qemu'><name>${name}</name><uuid>${UUID}</uuid></domain>`;
const never = new AbortController().signal;

async function spoolOf(files: Record<string, string>, fail?: () => void) {
  const folder = await temporaryFolder();
  await mkdir(join(folder.path, 'memory'));
  for (const [name, content] of Object.entries(files))
    await writeFile(join(folder.path, name), content);
  const caught: HookEvent[] = [];
  const state = { dropped: 0 };
  const spool = await openSpool({
    folders: [folder.path, join(folder.path, 'memory')],
    catchUp: async (events) => {
      fail?.();
      caught.push(...events);
    },
    onDropped: () => (state.dropped += 1),
    log: keptLog().log,
  });
  const names = async () =>
    (await readdir(folder.path, { recursive: true }))
      .filter((name) => name !== 'memory')
      .toSorted();
  return {
    spool,
    caught,
    state,
    names,
    path: folder.path,
    [Symbol.asyncDispose]: folder[Symbol.asyncDispose],
  };
}

describe('the spool', () => {
  it('is empty where its folder is not there', async () => {
    await using at = await spoolOf({});
    await rm(at.path, { recursive: true });
    assert.equal(await at.spool.count(), 0);
    await at.spool.drain(never);
    assert.deepEqual(at.caught, []);
    await mkdir(at.path);
  });

  it('is drained in the order of its events, wherever they are, and is empty then', async () => {
    await using at = await spoolOf({
      '1700000000000000003-9-release.end.shutdown.xml': xmlOf('c'),
      '999999999999999999-9-prepare.begin.none.xml': xmlOf('a'),
      'memory/1700000000000000001-9-prepare.begin.none.xml': xmlOf('b'),
    });
    assert.equal(await at.spool.count(), 3);
    await at.spool.drain(never);
    assert.deepEqual(
      at.caught.map((event) => event.domain.name),
      ['a', 'b', 'c'],
    );
    assert.deepEqual(
      at.caught.map((event) => event.isLate),
      [true, true, true],
    );
    const [, , last] = at.caught;
    assert.equal(last?.kind === 'release' && last.reason, 'shutdown');
    assert.deepEqual(await at.names(), []);
  });

  it('sets aside what is no event, takes the others, and leaves what is being written', async () => {
    await using at = await spoolOf({
      '1700000000000000001-9-prepare.begin.none.xml': '<domain',
      '1700000000000000002-9-reconnect.begin.none.xml': xmlOf('x'),
      '1700000000000000003-9-release.end.saved.xml': xmlOf('good'),
      '.part-7': '<dom',
    });
    await symlink('/etc/passwd', join(at.path, '1700000000000000000-9-prepare.begin.none.xml'));
    await at.spool.drain(never);
    assert.deepEqual(
      at.caught.map((event) => event.domain.name),
      ['good'],
    );
    assert.deepEqual(await at.names(), [
      '.part-7',
      'bad',
      'bad/1700000000000000000-9-prepare.begin.none.xml',
      'bad/1700000000000000001-9-prepare.begin.none.xml',
      'bad/1700000000000000002-9-reconnect.begin.none.xml',
    ]);
  });

  it('keeps all that was not recorded', async () => {
    let isFailing = true;
    await using at = await spoolOf(
      { '1700000000000000001-9-prepare.begin.none.xml': xmlOf('a') },
      () => {
        if (isFailing) throw new OperatingError({ code: 'exhausted', op: 'record', subject: 'x' });
      },
    );
    await assert.rejects(at.spool.drain(never), { code: 'exhausted' });
    assert.equal(await at.spool.count(), 1);
    isFailing = false;
    await at.spool.drain(never);
    assert.deepEqual([at.caught.length, await at.spool.count()], [1, 0]);
  });

  it('says that events were lost, once', async () => {
    await using at = await spoolOf({ dropped: '' });
    await at.spool.drain(never);
    await at.spool.drain(never);
    assert.equal(at.state.dropped, 1);
  });

  it('stops between rounds when siphond does', async () => {
    await using at = await spoolOf({ '1700000000000000001-9-prepare.begin.none.xml': xmlOf('a') });
    await at.spool.drain(AbortSignal.abort());
    assert.equal(await at.spool.count(), 1);
    await mkdir(join(at.path, 'bad'), { recursive: true });
  });
});
