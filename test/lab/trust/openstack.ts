// OpenStack's own verifier in a process of this host's Python, asked one case after the other.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { SourceProperties } from '../../../src/wire/vocabulary.ts';

const ROOT = path.join(import.meta.dirname, '../../..');

export type Case =
  | {
      readonly what: 'signature';
      readonly properties: SourceProperties;
      /** By UUID: DER, base64. */
      readonly certificates: Readonly<Record<string, string>>;
      readonly image: string;
    }
  | {
      readonly what: 'chain';
      readonly uuid: string;
      readonly trusted: readonly string[];
      readonly certificates: Readonly<Record<string, string>>;
    };

export interface OpenStackVerifier {
  /** What this host's cryptography has of the types of keys. */
  readonly types: readonly string[];
  /** `good`, or why not. */
  ask(one: Case): Promise<string>;
  end(): void;
}

export async function startVerifier(): Promise<OpenStackVerifier> {
  const child = spawn('python3', [path.join(import.meta.dirname, 'openstack-verifier.py')], {
    env: {
      ...process.env,
      PYTHONPATH: path.join(ROOT, 'node_modules/.cursive'),
      PYTHONWARNINGS: 'ignore',
    },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await lines.next();
    assert.ok(done !== true, 'the verifier has ended');
    return value;
  };
  const types = JSON.parse(await next()) as string[];
  return {
    types,
    async ask(one) {
      child.stdin.write(`${JSON.stringify(one)}\n`);
      return await next();
    },
    end: () => void child.stdin.end(),
  };
}
