import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  type HookEvent,
  type HookRequest,
  orderSpool,
  parseHookEvent,
  parseSpoolName,
  supersededReleases,
} from '../../../src/hook/events.ts';
import { OperatingError } from '../../../src/wire/errors.ts';
import { domainXml, UUIDS } from './domains.ts';

const WHEN = { atMs: 1, isLate: false };

function request(operation: string, extra = 'none', xml = domainXml(UUIDS[0])): HookRequest {
  return { operation, subOperation: 'begin', extra, xml };
}

test('each operation of the filter is an event of the domain', () => {
  for (const operation of ['prepare', 'migrate', 'restore', 'release']) {
    const event = parseHookEvent(request(operation), WHEN);
    assert.equal(event.kind, operation);
    assert.equal(event.domain.uuid, UUIDS[0]);
  }
});

test('release has its reason, in the filter’s spelling; without one it has none', () => {
  const reasons = {
    shutdown: 'shutdown',
    'from-snapshot': 'from snapshot',
    daemon: 'daemon',
    none: undefined,
    unknown: 'unknown',
    nonsense: 'unknown',
  };
  for (const [extra, reason] of Object.entries(reasons)) {
    const event = parseHookEvent(request('release', extra), WHEN);
    assert.equal(event.kind === 'release' && event.reason, reason);
  }
});

test('the event carries no password', () => {
  const xml = domainXml(UUIDS[0]).replace('<devices>', "<devices><graphics passwd='s3cret'/>");
  const event = parseHookEvent(request('migrate', 'none', xml), WHEN);
  assert.ok(xml.includes('s3cret') && !event.xml.includes('s3cret'));
});

test('another operation, or no domain, is a wrong request', () => {
  for (const wrong of [request('started'), request('prepare', 'none', '<x'), request('')]) {
    assert.throws(
      () => parseHookEvent(wrong, WHEN),
      (error) => error instanceof OperatingError && error.code === 'usage',
    );
  }
});

test('a spooled name is read back; other files are left alone', () => {
  assert.deepEqual(parseSpoolName('1795218252895171444-6145-release.end.from-snapshot.xml'), {
    operation: 'release',
    subOperation: 'end',
    extra: 'from-snapshot',
    pid: 6145,
    atMs: 1795218252895,
  });
  for (const other of [
    'dropped',
    '.part-12',
    'bad',
    '1-2-release.end.none.xml',
    '',
    '..',
    'x.xml',
  ]) {
    assert.equal(parseSpoolName(other), null, other);
  }
});

test('the spool is taken in the order of its events, whatever order the folder has', () => {
  const call = fc.record({
    ns: fc.bigInt({ min: 10n ** 18n, max: 10n ** 18n + 50n }),
    pid: fc.nat(9),
  });
  fc.assert(
    fc.property(fc.array(call), (calls) => {
      const names = calls.map(({ ns, pid }) => `${ns}-${pid}-prepare.begin.none.xml`);
      const ordered = orderSpool([...names, 'dropped']);
      assert.deepEqual(ordered.toSorted(), names.toSorted());
      const times = ordered.map((name) => parseSpoolName(name)?.atMs ?? 0);
      assert.deepEqual(
        times,
        times.toSorted((a, b) => a - b),
      );
    }),
  );
});

test('a release is superseded exactly if its domain comes up later', () => {
  const step = fc.record({
    kind: fc.constantFrom('prepare' as const, 'release' as const),
    domain: fc.constantFrom(...UUIDS),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      const events: HookEvent[] = steps.map(({ kind, domain }, atMs) =>
        parseHookEvent(request(kind, 'none', domainXml(domain)), { atMs, isLate: true }),
      );
      const superseded = supersededReleases(events);
      for (const [index, event] of events.entries()) {
        const comesUp = events
          .slice(index + 1)
          .some((each) => each.kind === 'prepare' && each.domain.uuid === event.domain.uuid);
        assert.equal(superseded.has(event), event.kind === 'release' && comesUp);
      }
    }),
  );
});
