// The list of what is bound, and what becomes of a function that the installed libvirt lacks.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bind } from '../src/call.ts';
import { bindings, isLibvirtError, VIR_ERR } from '../src/index.ts';
import { local } from '../src/library.ts';

test('every function of this package is listed, with its library', () => {
  const command = bindings().get('virDomainQemuAgentCommand');
  assert.equal(command?.library, 'libvirt-qemu');
  assert.match(command.prototype, /^char \*virDomainQemuAgentCommand\(virDomainPtr domain, /);
  assert.equal(bindings().get('virDomainGetXMLDesc')?.available, true);
  assert.equal(bindings().get('g_closure_invoke')?.library, 'libgobject');
});

test('a function that this libvirt lacks is known to be absent, and calling it says so', async () => {
  const later = bind('int virDomainNotInventedYet(virDomainPtr domain, unsigned int flags)');
  const now = local('int virNotInventedEither(void)');
  assert.equal(bindings().get('virDomainNotInventedYet')?.available, false);
  assert.throws(() => bindings().get('virDomainNotInventedYet')?.address(), { code: 3 });
  const error = {
    name: 'AbsentFunctionError',
    code: VIR_ERR.NO_SUPPORT,
    call: 'virDomainNotInventedYet',
  };
  await assert.rejects(later(1n, 0), error);
  assert.throws(() => now(), { ...error, call: 'virNotInventedEither' });
  assert(isLibvirtError(await later(1n, 0).catch((e: unknown) => e), VIR_ERR.NO_SUPPORT));
});

test('what cannot be declared or called is a defect', async () => {
  assert.throws(() => bind('nothing'), { message: /not a prototype/ });
  assert.throws(() => bind('int virBad(struct timespec when)'), { message: /no binding for/ });
  assert.throws(() => bind('int virDomainIsActive(virDomainPtr dom)'), {
    message: /declared twice/,
  });
  await assert.rejects(bind('int virShort(int a)')(), { message: /takes 1 arguments/ });
});
