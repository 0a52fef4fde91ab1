import assert from 'node:assert/strict';
import { duplexPair } from 'node:stream';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeFrame, FrameError, FrameReader, openChannel } from '../../../src/worker/channel.ts';

test('messages arrive whole and in order, however the bytes are cut', () => {
  const messages = fc.array(fc.dictionary(fc.string(), fc.jsonValue()), { maxLength: 8 });
  const cuts = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(messages, cuts, (sent, lengths) => {
      const bytes = Buffer.concat(sent.map((message) => encodeFrame(message)));
      const reader = new FrameReader();
      const received: object[] = [];
      for (let at = 0, turn = 0; at < bytes.length; turn++) {
        const end = at + lengths[turn % lengths.length]!;
        received.push(...reader.push(bytes.subarray(at, end)));
        at = end;
      }
      assert.deepEqual(received, JSON.parse(JSON.stringify(sent)));
    }),
  );
});

test('no bytes but frames are ever taken for messages: the reader says so, and does not fail otherwise', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 20 }), (chunks) => {
      const reader = new FrameReader(1024);
      try {
        for (const chunk of chunks) reader.push(Buffer.from(chunk));
      } catch (error) {
        assert.ok(error instanceof FrameError);
      }
    }),
  );
});

test('a length over the bound is refused before its bytes are awaited', () => {
  const header = Buffer.alloc(4);
  header.writeUInt32BE(101);
  assert.throws(() => new FrameReader(100).push(header), FrameError);
  assert.throws(() => encodeFrame({ text: 'x'.repeat(100) }, 100), FrameError);
  assert.equal(encodeFrame({ a: 1 }, 7).toString('latin1'), '\0\0\0\x07{"a":1}');
});

for (const body of ['oops', '', '1', 'null', '"text"']) {
  test(`a frame of ${JSON.stringify(body)} is refused`, () => {
    const frame = Buffer.alloc(4 + body.length, body);
    frame.writeUInt32BE(body.length);
    frame.write(body, 4);
    assert.throws(() => new FrameReader().push(frame), FrameError);
  });
}

test('a channel closes once, with its cause, and hears nothing after garbage', async () => {
  const [near, far] = duplexPair();
  const heard: object[] = [];
  const closed = Promise.withResolvers<Error | undefined>();
  openChannel(near, { message: (message) => heard.push(message), closed: closed.resolve });
  far.write(
    Buffer.concat([encodeFrame({ n: 1 }), Buffer.from('\0\0\0\x01?'), encodeFrame({ n: 2 })]),
  );
  assert.ok((await closed.promise) instanceof FrameError);
  far.destroy();
  assert.deepEqual(heard, []); // one chunk, and a peer that lies once is not believed at all
});

test('a channel whose peer ends closes without a cause', async () => {
  const [near, far] = duplexPair();
  const closed = Promise.withResolvers<Error | undefined>();
  openChannel(near, { message: () => undefined, closed: closed.resolve });
  far.end();
  assert.equal(await closed.promise, undefined);
});
