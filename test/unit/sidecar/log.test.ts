// The log: journald's priorities, and no secret.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { keptLog } from './support/quiet.ts';

describe('the log', () => {
  it('gives each line the priority of its level', () => {
    const { log, lines } = keptLog();
    for (const level of ['debug', 'info', 'warn', 'error', 'fatal'] as const) log[level]('x');
    assert.deepEqual(
      lines.map((line) => line.slice(0, 3)),
      ['<7>', '<6>', '<4>', '<3>', '<2>'],
    );
    assert.deepEqual(JSON.parse(lines[1]?.slice(3) ?? ''), { level: 'info', msg: 'x' });
  });

  it('strikes out secrets and XML, however deep', () => {
    const { log, lines } = keptLog();
    const secret = 'AQB-secret';
    log.info(
      { xml: secret, a: { domainXml: secret, b: { password: secret, token: secret } } },
      'x',
    );
    log.child({ secret }).info({ a: { keyring: secret } }, 'x');
    assert.equal(lines.filter((line) => line.includes(secret)).length, 0, lines.join(''));
  });
});
