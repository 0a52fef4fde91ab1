// The declarations here and those of the installed headers (libvirt-dev) are the same, on each release of libvirt.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ABORT_FLAGS, COMMIT_FLAGS, COPY_FLAGS } from '../src/block-jobs.ts';
import { VIR_ERROR_BYTES } from '../src/call.ts';
import { callbackTypes } from '../src/callbacks.ts';
import { IMPACT, POWER_WAYS, START_FLAGS, UNDEFINE_FLAGS, XML_FLAGS } from '../src/domain.ts';
import {
  AGENT_REASONS,
  AGENT_STATES,
  AGENT_TIMEOUTS,
  BLOCK_JOB_STATUSES,
  BLOCK_JOB_TYPES,
  bindings,
  CLOSE_REASONS,
  DOMAIN_STATES,
  JOB_OPERATIONS,
  JOB_TYPES,
  LIFECYCLE_EVENTS,
  METADATA_KINDS,
  POOL_STATES,
  RESUMED_DETAILS,
  SECRET_USAGES,
  STARTED_DETAILS,
  STOPPED_DETAILS,
  SUSPENDED_DETAILS,
  VIR_ERR,
  VOLUME_TYPES,
} from '../src/index.ts';
import { JOB_STATISTICS_FLAGS } from '../src/jobs.ts';
import { parsePrototype } from '../src/prototype.ts';
import { SAVE_FLAGS } from '../src/saves.ts';
import { TYPED_PARAMETER_BYTES, TYPED_PARAMETER_READERS } from '../src/typed-parameters.ts';

const HEADERS = '/usr/include/libvirt';
const headerWithMacros = readdirSync(HEADERS)
  .filter((name) => name.endsWith('.h'))
  .map((name) => readFileSync(`${HEADERS}/${name}`, 'utf8'))
  .join('\n')
  .replace(/\/\*.*?\*\//gs, ' ');
const header = headerWithMacros.replace(/^\s*#.*$/gm, '');

const SOURCE = new URL('../src/', import.meta.url);
const sources = readdirSync(SOURCE)
  .map((name) => readFileSync(new URL(name, SOURCE), 'utf8'))
  .join('\n');
const bound = [...bindings().values()].filter(({ library }) => library.startsWith('libvirt'));

/** Names that not every libvirt has which this package supports, and the first that does. */
const SINCE: Readonly<Record<string, number>> = {
  VIR_ERR_AGENT_COMMAND_TIMEOUT: 11_002_000,
  VIR_ERR_AGENT_COMMAND_FAILED: 11_002_000,
  virDomainGetAutostartOnce: 11_002_000,
  virDomainSetAutostartOnce: 11_002_000,
};
const version = Number(/#\s*define LIBVIR_VERSION_NUMBER (\d+)/.exec(headerWithMacros)?.[1]);

/** White space that C does not see. */
function normal(prototype: string): string {
  return prototype
    .replace(/\s+/g, ' ')
    .replace(/\s*([*(),;])\s*/g, '$1')
    .trim();
}

test('there are bindings to compare, and a libvirt', () => {
  assert(bound.length > 90, `${bound.length}`);
  assert(version >= 9_000_000, `${version}`);
});

for (const { symbol, prototype, available } of bound) {
  const isThere = version >= (SINCE[symbol] ?? 0);
  test(`${symbol} is ${isThere ? 'declared as the header has it, and is there' : 'absent'}`, () => {
    const declared = new RegExp(
      `([\\w][\\w\\s]*?[\\s*]+${symbol}\\s*\\((?:[^;()]|\\([^()]*\\))*\\))\\s*;`,
    ).exec(header)?.[1];
    assert.equal(
      declared === undefined ? undefined : normal(declared),
      isThere ? normal(prototype) : undefined,
    );
    assert.equal(available, isThere);
  });
}

for (const typedef of callbackTypes()) {
  const name = /\(\*(\w+)\)/.exec(typedef)?.[1] ?? '';
  test(`${name} is declared as the header has it`, () => {
    const declared = new RegExp(`typedef [^;]*?\\(\\*${name}\\)[^;]*;`).exec(header)?.[0] ?? '';
    assert.equal(normal(typedef), normal(declared));
  });
}

test('what is bound is named by the function that implements it, and the other way', () => {
  const named = [...sources.matchAll(/Implements: ([\w, \n*]+)\./g)].flatMap(
    (match) => match[1]?.match(/vir\w+/g) ?? [],
  );
  const symbols = new Set(bound.map(({ symbol }) => symbol));
  assert.deepEqual([...symbols.difference(new Set(named))], []);
  assert.deepEqual([...new Set(named).difference(symbols)], []);
});

test('a prototype is taken apart', () => {
  assert.deepEqual(parsePrototype('unsigned char *f(virSecretPtr secret, size_t *n, int **x)'), {
    name: 'f',
    returns: 'unsigned char *',
    parameters: ['virSecretPtr', 'size_t *', 'int **'],
  });
  assert.deepEqual(parsePrototype('void g(void)').parameters, []);
});

/** The members of a C enum, in order, with their values. */
function enumeration(type: string): Map<string, number> {
  const body = new RegExp(`typedef enum \\{([^}]*)\\} ${type};`).exec(header)?.[1] ?? '';
  const members = new Map<string, number>();
  let next = 0;
  for (const [, name = '', value] of body.matchAll(/(VIR_\w+)(?:\s*=\s*([^,\n]+))?/g)) {
    if (name.endsWith('_LAST')) continue;
    next = value === undefined ? next : valueOf(value);
    members.set(name, next++);
  }
  return members;
}

/** A number, a shift, or another constant's name. */
function valueOf(text: string): number {
  const [, one = '', shift = '0'] = /^\(?(-?\d+)(?:\s*<<\s*(\d+))?\)?$/.exec(text.trim()) ?? [];
  if (one !== '') return Number(one) << Number(shift);
  const name = new RegExp(`\\b${text.trim()}\\s*=\\s*([^,\\n]+)`).exec(header)?.[1];
  return name === undefined ? Number.NaN : valueOf(name);
}

test('error codes are the header’s', () => {
  const members = enumeration('virErrorNumber');
  for (const [name, code] of Object.entries(VIR_ERR)) {
    const isThere = version >= (SINCE[`VIR_ERR_${name}`] ?? 0);
    assert.equal(members.get(`VIR_ERR_${name}`), isThere ? code : undefined, name);
  }
});

const EVENT = 'VIR_CONNECT_DOMAIN_EVENT_';
/** Names by the places of their values, from `first` on. */
const ENUMERATIONS: readonly (readonly [string, string, readonly string[], number?])[] = [
  ['virDomainState', 'VIR_DOMAIN_', DOMAIN_STATES],
  ['virDomainEventType', 'VIR_DOMAIN_EVENT_', LIFECYCLE_EVENTS],
  ['virDomainEventStartedDetailType', 'VIR_DOMAIN_EVENT_STARTED_', STARTED_DETAILS],
  ['virDomainEventSuspendedDetailType', 'VIR_DOMAIN_EVENT_SUSPENDED_', SUSPENDED_DETAILS],
  ['virDomainEventResumedDetailType', 'VIR_DOMAIN_EVENT_RESUMED_', RESUMED_DETAILS],
  ['virDomainEventStoppedDetailType', 'VIR_DOMAIN_EVENT_STOPPED_', STOPPED_DETAILS],
  ['virConnectCloseReason', 'VIR_CONNECT_CLOSE_REASON_', CLOSE_REASONS],
  ['virConnectDomainEventAgentLifecycleState', `${EVENT}AGENT_LIFECYCLE_STATE_`, AGENT_STATES, 1],
  ['virConnectDomainEventAgentLifecycleReason', `${EVENT}AGENT_LIFECYCLE_REASON_`, AGENT_REASONS],
  ['virDomainMetadataType', 'VIR_DOMAIN_METADATA_', METADATA_KINDS],
  ['virDomainBlockJobType', 'VIR_DOMAIN_BLOCK_JOB_TYPE_', BLOCK_JOB_TYPES],
  ['virConnectDomainEventBlockJobStatus', 'VIR_DOMAIN_BLOCK_JOB_', BLOCK_JOB_STATUSES],
  ['virDomainJobType', 'VIR_DOMAIN_JOB_', JOB_TYPES],
  ['virDomainJobOperation', 'VIR_DOMAIN_JOB_OPERATION_', JOB_OPERATIONS],
  ['virSecretUsageType', 'VIR_SECRET_USAGE_TYPE_', SECRET_USAGES],
  ['virStoragePoolState', 'VIR_STORAGE_POOL_', POOL_STATES],
  ['virStorageVolType', 'VIR_STORAGE_VOL_', VOLUME_TYPES],
];
const ALIASES: Readonly<Record<string, string>> = { nostate: 'none', eof: 'end of file' };

for (const [type, prefix, ours, first = 0] of ENUMERATIONS) {
  test(`${type} begins with our members in our order`, () => {
    const theirs = [...enumeration(type)].map(([name, value]) => {
      const plain = name.slice(prefix.length).toLowerCase().replaceAll('_', ' ');
      return [ALIASES[plain] ?? plain, value] as const;
    });
    const want = ours.map((name, i) => [name, i + first] as const);
    assert.deepEqual(theirs.slice(0, ours.length), want);
  });
}

/** Flags by our names, each with libvirt's after the prefix. */
const FLAGS: readonly (readonly [
  string,
  Readonly<Record<string, number>>,
  string,
  readonly string[],
])[] = [
  ['virDomainXMLFlags', XML_FLAGS, 'VIR_DOMAIN_XML_', ['SECURE', 'INACTIVE', 'MIGRATABLE']],
  ['virDomainModificationImpact', IMPACT, 'VIR_DOMAIN_AFFECT_', ['CURRENT', 'LIVE', 'CONFIG']],
  [
    'virDomainCreateFlags',
    START_FLAGS,
    'VIR_DOMAIN_START_',
    ['PAUSED', 'AUTODESTROY', 'BYPASS_CACHE', 'FORCE_BOOT'],
  ],
  [
    'virDomainShutdownFlagValues',
    POWER_WAYS,
    'VIR_DOMAIN_SHUTDOWN_',
    ['DEFAULT', 'ACPI_POWER_BTN', 'GUEST_AGENT'],
  ],
  [
    'virDomainRebootFlagValues',
    POWER_WAYS,
    'VIR_DOMAIN_REBOOT_',
    ['DEFAULT', 'ACPI_POWER_BTN', 'GUEST_AGENT'],
  ],
  [
    'virDomainUndefineFlagsValues',
    UNDEFINE_FLAGS,
    'VIR_DOMAIN_UNDEFINE_',
    [
      'MANAGED_SAVE',
      'SNAPSHOTS_METADATA',
      'NVRAM',
      'KEEP_NVRAM',
      'CHECKPOINTS_METADATA',
      'TPM',
      'KEEP_TPM',
    ],
  ],
  [
    'virDomainSaveRestoreFlags',
    SAVE_FLAGS,
    'VIR_DOMAIN_SAVE_',
    ['BYPASS_CACHE', 'RUNNING', 'PAUSED'],
  ],
  [
    'virDomainGetJobStatsFlags',
    JOB_STATISTICS_FLAGS,
    'VIR_DOMAIN_JOB_STATS_',
    ['COMPLETED', 'KEEP_COMPLETED'],
  ],
  ['virDomainBlockJobAbortFlags', ABORT_FLAGS, 'VIR_DOMAIN_BLOCK_JOB_ABORT_', ['ASYNC', 'PIVOT']],
  [
    'virDomainBlockCommitFlags',
    COMMIT_FLAGS,
    'VIR_DOMAIN_BLOCK_COMMIT_',
    ['SHALLOW', 'DELETE', 'ACTIVE', 'RELATIVE'],
  ],
  [
    'virDomainBlockCopyFlags',
    COPY_FLAGS,
    'VIR_DOMAIN_BLOCK_COPY_',
    ['SHALLOW', 'REUSE_EXT', 'TRANSIENT_JOB'],
  ],
  [
    'virDomainAgentResponseTimeoutValues',
    AGENT_TIMEOUTS,
    'VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_',
    ['DEFAULT', 'BLOCK'],
  ],
];

for (const [type, ours, prefix, names] of FLAGS) {
  test(`the values of ${type} are the header’s`, () => {
    const theirs = enumeration(type);
    const values = Object.values(ours);
    for (const [i, name] of names.entries())
      assert.equal(theirs.get(prefix + name), values[i], name);
  });
}

/** Constants that stand in one place only. */
const VALUES: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  virConnectListAllDomainsFlags: {
    VIR_CONNECT_LIST_DOMAINS_ACTIVE: 1,
    VIR_CONNECT_LIST_DOMAINS_INACTIVE: 2,
    VIR_CONNECT_LIST_DOMAINS_PERSISTENT: 4,
    VIR_CONNECT_LIST_DOMAINS_TRANSIENT: 8,
    VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE: 256,
    VIR_CONNECT_LIST_DOMAINS_NO_MANAGEDSAVE: 512,
    VIR_CONNECT_LIST_DOMAINS_AUTOSTART: 1024,
    VIR_CONNECT_LIST_DOMAINS_NO_AUTOSTART: 2048,
  },
  virDomainEventID: {
    VIR_DOMAIN_EVENT_ID_LIFECYCLE: 0,
    VIR_DOMAIN_EVENT_ID_REBOOT: 1,
    VIR_DOMAIN_EVENT_ID_BLOCK_JOB: 8,
    VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED: 15,
    VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2: 16,
    VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE: 18,
    VIR_DOMAIN_EVENT_ID_DEVICE_ADDED: 19,
    VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED: 22,
    VIR_DOMAIN_EVENT_ID_METADATA_CHANGE: 23,
  },
  virDomainMetadataType: { VIR_DOMAIN_METADATA_ELEMENT: 2 },
  virDomainDefineFlags: { VIR_DOMAIN_DEFINE_VALIDATE: 1 },
  virDomainCreateFlags: { VIR_DOMAIN_START_VALIDATE: 16 },
  virDomainDestroyFlagsValues: { VIR_DOMAIN_DESTROY_GRACEFUL: 1 },
  virDomainSaveImageXMLFlags: { VIR_DOMAIN_SAVE_IMAGE_XML_SECURE: 1 },
  virDomainBlockResizeFlags: { VIR_DOMAIN_BLOCK_RESIZE_BYTES: 1 },
  virDomainBlockJobInfoFlags: { VIR_DOMAIN_BLOCK_JOB_INFO_BANDWIDTH_BYTES: 1 },
  virDomainBlockJobSetSpeedFlags: { VIR_DOMAIN_BLOCK_JOB_SPEED_BANDWIDTH_BYTES: 1 },
  virDomainBlockPullFlags: { VIR_DOMAIN_BLOCK_PULL_BANDWIDTH_BYTES: 64 },
  virDomainBlockCommitFlags: { VIR_DOMAIN_BLOCK_COMMIT_BANDWIDTH_BYTES: 16 },
  virTypedParameterType: {
    VIR_TYPED_PARAM_INT: 1,
    VIR_TYPED_PARAM_STRING: TYPED_PARAMETER_READERS.length,
  },
};

for (const [type, values] of Object.entries(VALUES)) {
  test(`constants of ${type} are the header’s`, () => {
    const theirs = enumeration(type);
    for (const [name, value] of Object.entries(values)) assert.equal(theirs.get(name), value, name);
  });
}

/** What is read out of memory by its place. */
const LAYOUTS = [
  'struct _virDomainBlockInfo{unsigned long long capacity;unsigned long long allocation;unsigned long long physical;};',
  `struct _virDomainBlockJobInfo{int type;unsigned long bandwidth;virDomainBlockJobCursor cur;
     virDomainBlockJobCursor end;};`,
  'typedef unsigned long long virDomainBlockJobCursor;',
  `struct _virDomainJobInfo{int type;unsigned long long timeElapsed;unsigned long long timeRemaining;
     unsigned long long dataTotal;unsigned long long dataProcessed;unsigned long long dataRemaining;
     unsigned long long memTotal;unsigned long long memProcessed;unsigned long long memRemaining;
     unsigned long long fileTotal;unsigned long long fileProcessed;unsigned long long fileRemaining;};`,
  'struct _virDomainFSInfo{char *mountpoint;char *name;char *fstype;size_t ndevAlias;char **devAlias;};',
  `struct _virNodeInfo{char model[32];unsigned long memory;unsigned int cpus;unsigned int mhz;
     unsigned int nodes;unsigned int sockets;unsigned int cores;unsigned int threads;};`,
  'struct _virStorageVolInfo{int type;unsigned long long capacity;unsigned long long allocation;};',
  `struct _virStoragePoolInfo{int state;unsigned long long capacity;unsigned long long allocation;
     unsigned long long available;};`,
  `struct _virTypedParameter{char field[VIR_TYPED_PARAM_FIELD_LENGTH];int type;
     union{int i;unsigned int ui;long long int l;unsigned long long int ul;double d;char b;char *s;}value;};`,
];

for (const layout of LAYOUTS) {
  test(`the header has ${layout.slice(0, 40)}…`, () => {
    const tight = (text: string): string => normal(text).replace(/ ?([{};]) ?/g, '$1');
    assert(tight(header).includes(tight(layout)));
  });
}

test('lengths are the header’s', () => {
  assert.match(headerWithMacros, /#\s*define VIR_TYPED_PARAM_FIELD_LENGTH 80\b/);
  assert.match(headerWithMacros, /#\s*define VIR_UUID_STRING_BUFLEN \(36\+1\)/);
  assert.equal(TYPED_PARAMETER_BYTES, 96);
});

test('virError begins as it is read here, and is as long', () => {
  const body = /struct _virError \{([^}]*)\}/.exec(header)?.[1] ?? '';
  const fields = [...body.matchAll(/(\w+\s*\*?)\s*(\w+);/g)].map((field) => field[2]);
  assert.deepEqual(fields.slice(0, 3), ['code', 'domain', 'message']);
  assert.equal(fields.length, 12);
  assert.equal(VIR_ERROR_BYTES, 80);
});
