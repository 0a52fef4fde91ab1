// Whatever is attached as a manifest: one that agrees with itself, or an error that says why; soon, and of little memory.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dsse } from '@sigstore/core';
import fc from 'fast-check';
import { ChunkTable } from '../../../../src/trust/manifest/chunk-table.ts';
import { PAYLOAD_TYPE, parseEnvelope } from '../../../../src/trust/manifest/envelope.ts';
import { keyIdOf, signBytes } from '../../../../src/trust/manifest/keys.ts';
import { signManifest, trustManifest } from '../../../../src/trust/manifest/manifest.ts';
import { encodeStatement, parseStatement } from '../../../../src/trust/manifest/statement.ts';
import { OperatingError } from '../../../../src/wire/errors.ts';
import {
  CHUNK,
  keysOf,
  opensslKey,
  sha256,
  sparse,
  tableBytes,
  tableOf,
} from '../../../support/manifests.ts';
import { bounded, changedFrom, oddNumbers, RUNS, RUNS_NAME } from '../../../support/mutations.ts';

const key = opensslKey('ed25519');
const keys = keysOf([key.publicKey]);
const content = sparse(10 * CHUNK + 7, [0, 3, 10]);
const source = { subject: 'rbd:images/base@v1', sizeBytes: content.length };
const tables = [content, sparse(3, [0]), sparse(70 * CHUNK, [])].map((each) => tableBytes(each));
const table = tableOf(content);
const statement = encodeStatement(table, { name: 'base', version: '1.2' });
const envelope = Buffer.from(signManifest(table, { name: 'base' }, key.privateKey));

/** JSON with the value at one of its places replaced, left out, or doubled. */
const reshaped = (text: Buffer) =>
  fc
    .tuple(fc.nat(), fc.constantFrom('replace', 'remove', 'add'), fc.jsonValue({ maxDepth: 5 }))
    .map(([place, what, value]) => {
      const whole = JSON.parse(text.toString()) as object;
      const places = placesIn(whole);
      const [holder, name] = places[place % places.length] as Place;
      if (what === 'replace') holder[name] = value;
      else if (what === 'remove') delete holder[name];
      else holder[`${name}${place}`] = value;
      return Buffer.from(JSON.stringify(whole));
    });
type Place = readonly [Record<string, unknown>, string];

function placesIn(value: unknown): Place[] {
  if (typeof value !== 'object' || value === null) return [];
  const holder = value as Record<string, unknown>;
  return Object.keys(holder).flatMap((name) => [
    [holder, name] as const,
    ...placesIn(holder[name]),
  ]);
}

/** A table with another number in its header, or other bits. */
const oddTables = fc.oneof(
  changedFrom(tables),
  fc.tuple(fc.constantFrom(...tables), oddNumbers, fc.boolean()).map(([bytes, value, isSize]) => {
    const copy = Buffer.from(bytes);
    if (isSize) copy.writeBigUInt64BE(value, 0);
    else copy.writeUInt32BE(Number(value & 0xffff_ffffn), 8);
    return copy;
  }),
);
const random = fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes));
const texts = fc.json({ maxDepth: 20 }).map((text) => Buffer.from(text));

test(`tables of chunks: ${RUNS_NAME}`, () => {
  fc.assert(
    fc.property(fc.oneof(random, oddTables), (bytes) => {
      const found = bounded(() => ChunkTable.parse(bytes));
      if (found.kind === 'none') return assert.notEqual(found.why, '');
      const { sizeBytes, chunkBytes, chunkCount, dataChunks } = found.table;
      assert.equal(chunkCount, Math.ceil(sizeBytes / chunkBytes));
      assert.equal(bytes.length, 12 + Math.ceil(chunkCount / 8) + 32 * dataChunks);
      assert.ok(dataChunks <= chunkCount);
      assert.equal(found.table.sha256, sha256(bytes).toString('hex'));
    }),
    RUNS,
  );
});

test(`statements: ${RUNS_NAME}`, () => {
  const ofTables = oddTables.map((bytes) => {
    const whole = JSON.parse(statement.toString()) as {
      subject: { digest: { sha256: string } }[];
      predicate: Record<string, unknown>;
    };
    whole.subject = [{ digest: { sha256: sha256(bytes).toString('hex') } }];
    whole.predicate['table'] = bytes.toString('base64');
    return Buffer.from(JSON.stringify(whole));
  });
  const made = fc.oneof(random, texts, changedFrom([statement]), reshaped(statement), ofTables);
  fc.assert(
    fc.property(made, (bytes) => {
      const found = bounded(() => parseStatement(bytes));
      if (found.kind === 'none') return assert.notEqual(found.why, '');
      for (const claim of Object.values(found.claims)) assert.ok(!/\p{Cc}/u.test(String(claim)));
      const { sizeBytes } = (JSON.parse(bytes.toString()) as { predicate: { sizeBytes: number } })
        .predicate;
      assert.equal(found.table.sizeBytes, sizeBytes);
    }),
    RUNS,
  );
});

test(`envelopes: ${RUNS_NAME}`, () => {
  const made = fc.oneof(random, texts, changedFrom([envelope]), reshaped(envelope));
  fc.assert(
    fc.property(made, (bytes) => {
      const found = bounded(() => parseEnvelope(bytes));
      if (found.kind === 'none') return assert.notEqual(found.why, '');
      assert.ok(found.envelope.signatures.length > 0);
      // What is not as it was signed counts for nothing.
      const isSame = found.envelope.payload.equals(payloadOf(envelope));
      try {
        bounded(() => trustManifest(bytes, keys, source));
        assert.ok(isSame);
      } catch (error) {
        if (!(error instanceof OperatingError)) throw error;
        assert.ok(['corrupt', 'refused', 'mismatch'].includes(error.code), error.code);
      }
    }),
    RUNS,
  );
});

const payloadOf = (bytes: Buffer): Buffer => {
  const { payload } = JSON.parse(bytes.toString()) as { payload: string };
  return Buffer.from(payload, 'base64');
};

test(`rightly signed, whatever it is: ${RUNS_NAME}`, () => {
  const made = fc.oneof(random, texts, changedFrom([statement]), reshaped(statement));
  fc.assert(
    fc.property(made, (payload) => {
      const signature = signBytes(dsse.preAuthEncoding(PAYLOAD_TYPE, payload), key.privateKey);
      const sealed = Buffer.from(
        JSON.stringify({
          payloadType: PAYLOAD_TYPE,
          payload: payload.toString('base64'),
          signatures: [{ keyid: keyIdOf(key.privateKey), sig: signature.toString('base64') }],
        }),
      );
      try {
        const { table: found, keyId } = bounded(() => trustManifest(sealed, keys, source));
        assert.deepEqual([found.sizeBytes, keyId], [source.sizeBytes, key.id]);
      } catch (error) {
        if (!(error instanceof OperatingError)) throw error;
        assert.ok(['corrupt', 'mismatch'].includes(error.code), error.message);
      }
    }),
    RUNS,
  );
});
