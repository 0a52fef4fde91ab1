// siphon describe SOURCE: records what OpenStack says of an image beside the image, in siphon's omap.

import type { Command } from 'commander';
import type { DescribeRequest } from '../../wire/api.ts';
import { OperatingError } from '../../wire/errors.ts';
import { createClient } from '../client.ts';
import { printJson } from '../output.ts';
import { readPropertiesFile } from '../properties-file.ts';

interface DescribeOptions {
  readonly properties?: string;
  readonly remove?: true;
  readonly json?: true;
}

export function addDescribe(program: Command): void {
  program
    .command('describe')
    .description("record a source's properties beside it in Ceph, for every host's fills")
    .argument('<SOURCE>')
    .option('--properties <FILE>', "what 'openstack image show -f json' printed of it")
    .option('--remove', 'remove the record')
    .option('--json', 'print JSON')
    .action(describe);
}

async function describe(source: string, options: DescribeOptions): Promise<void> {
  if ((options.properties === undefined) === (options.remove === undefined)) {
    throw new OperatingError({
      code: 'usage',
      op: 'describe',
      subject: source,
      why: 'neither, or both, of --properties FILE and --remove are given',
      hint: 'Give one: --properties FILE records what `openstack image show -f json` printed, --remove undoes it.',
    });
  }
  const properties =
    options.properties === undefined ? null : await readPropertiesFile(options.properties);
  const request: DescribeRequest = { source, properties };
  await createClient().post('/v1/describe', request);
  if (options.json) printJson(request);
}
