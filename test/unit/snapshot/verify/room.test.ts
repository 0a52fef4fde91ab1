// Proofs in memory: whatever ends siphond, and whichever call fails, nothing of a proof is left, and no verdict is made up.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Proofs } from '../../../../src/snapshot/verify/room.ts';
import type { ProofRequest } from '../../../../src/wire/verify-api.ts';
import { failure, Life, SET, World } from '../restore/world.ts';

const ONE: ProofRequest = { set: SET.id };
const untouched = new World().state;
const ends = (life: Life, request: ProofRequest = ONE) =>
  life.ends(async () => life.proofs.begin(request));

test('a set is proven, says so, and nothing of it is left', async () => {
  const world = new World();
  const { finished, jobId = '' } = new Life(world).proofs.begin(ONE);
  const { proofs } = await finished;
  assert.deepEqual(world.state, untouched);
  assert.equal(proofs[0]?.proof.level, 'checked');
  assert.deepEqual(world.proof, proofs[0]?.proof);
  assert.deepEqual(world.jobs.get(jobId)?.result, world.proof);
});

test('a guest that never answers is not proven', async () => {
  const world = new World();
  world.guest = { kind: 'silent', why: 'not connected' };
  await ends(new Life(world));
  assert.match(world.proof?.why ?? '', /its agent did not answer within .*\(not connected\)/);
  assert.equal(world.proof?.isProven, false);
  assert.deepEqual(world.state, untouched);
});

test('wherever siphond ends, all is removed, and the set says what was found out, or nothing', async () => {
  for (let endsAt = 1; ; endsAt += 1) {
    const world = new World();
    const ended = await ends(new Life(world, endsAt));
    await new Life(world).recover();
    assert.deepEqual(world.state, untouched, `killed at effect ${endsAt}`);
    assert.ok(world.proof === undefined || world.proof.isProven, `killed at effect ${endsAt}`);
    if (ended === 'done') break;
  }
});

test('a call that fails at any point leaves nothing', async () => {
  for (const code of ['busy', 'unavailable', 'not-found'] as const) {
    for (let failsAt = 1; ; failsAt += 1) {
      const world = new World();
      let calls = 0;
      world.before = () => {
        if (++calls === failsAt) throw failure(code);
      };
      const life = new Life(world);
      const ended = await ends(life);
      if (calls < failsAt) break;
      world.before = () => undefined;
      await life.recover();
      await new Life(world).recover();
      assert.deepEqual(world.state, untouched, `${code} at call ${failsAt}: ${ended}`);
    }
  }
});

test('an outage from any call on leaves nothing once it is over, not even the job', async () => {
  for (let failsFrom = 1; ; failsFrom += 1) {
    const world = new World();
    let calls = 0;
    world.before = () => {
      if (++calls >= failsFrom) throw failure('unavailable');
    };
    const life = new Life(world);
    const ended = await ends(life);
    if (ended === 'done') break;
    world.before = () => undefined;
    await life.recover();
    assert.deepEqual(world.state, untouched, `away from call ${failsFrom} on`);
  }
});

test('what is the host’s or the cluster’s fault says nothing of the set', async () => {
  const world = new World();
  world.freeBytes = 2 ** 20;
  assert.equal(await ends(new Life(world)), 'exhausted');
  world.freeBytes = 2 ** 40;
  world.before = (method) => {
    if (method === 'clusterHealth') throw failure('unavailable');
  };
  assert.equal(await ends(new Life(world)), 'unavailable');
  assert.equal(world.proof, undefined);
});

test('a set that cannot be tried as it is, is not proven', async () => {
  const world = new World();
  world.before = (method) => {
    if (method === 'mayDefine') throw failure('mismatch');
  };
  assert.equal(await ends(new Life(world)), 'done');
  assert.equal(world.proof?.isProven, false);
  assert.deepEqual(world.state, untouched);
});

const codeOf = (room: Proofs, request: ProofRequest) => {
  try {
    room.begin(request);
    return 'begun';
  } catch (error) {
    return (error as { code: string }).code;
  }
};

test('one at a time, of what is known here', async () => {
  const world = new World();
  const { proofs } = new Life(world);
  assert.equal(codeOf(proofs, { set: 'other' }), 'not-found');
  assert.equal(codeOf(proofs, { newest: { domains: ['other'], max: 1 } }), 'not-found');
  const { finished } = proofs.begin({ newest: { domains: [], max: 5 } });
  assert.equal(codeOf(proofs, ONE), 'busy');
  assert.deepEqual((await finished).later, []);
  assert.equal(codeOf(proofs, ONE), 'begun');
});

test('a job that is cancelled ends, and leaves nothing', async () => {
  const world = new World();
  world.guest = { kind: 'silent', why: 'not yet' };
  const life = new Life(world);
  const { finished, jobId = '' } = life.proofs.begin(ONE);
  life.journal.cancel(jobId);
  await assert.rejects(finished, { code: 'cancelled' });
  assert.deepEqual(world.state, untouched);
  assert.equal(world.proof, undefined);
});
