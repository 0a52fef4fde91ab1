// The command's way to siphond: the socket for everything, else for reading commands the one for reading; and what is missing.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createClient } from '../../../src/cli/client.ts';

/** Nobody, in Debian: root may open every socket. */
const NOBODY = 65_534;

/** Two servers that tell which they are, and the header that names the user. */
async function twoServers(modes: { readonly all: number; readonly read: number }) {
  const folder = await mkdtemp(join(tmpdir(), 'siphon-client-'));
  await chmod(folder, 0o755);
  const sockets = { all: join(folder, 'all.sock'), read: join(folder, 'read.sock') };
  const servers = await Promise.all(
    (['all', 'read'] as const).map(async (name) => {
      const server = http.createServer((request, response) => {
        response.end(JSON.stringify({ name, user: request.headers['x-siphon-user'] }));
      });
      server.listen(sockets[name]);
      await once(server, 'listening');
      await chmod(sockets[name], modes[name]);
      return server;
    }),
  );
  return {
    sockets,
    async [Symbol.asyncDispose]() {
      for (const server of servers) server.close();
      await rm(folder, { recursive: true });
    },
  };
}

async function asNobody<T>(work: () => Promise<T>): Promise<T> {
  process.seteuid?.(NOBODY);
  try {
    return await work();
  } finally {
    process.seteuid?.(0);
  }
}

describe('the client', () => {
  it('asks the socket of everything where it may', async () => {
    await using at = await twoServers({ all: 0o666, read: 0o666 });
    const client = createClient(at.sockets);
    const told = await client.get<{ name: string; user: string }>('/v1/status');
    assert.equal(told.name, 'all');
    assert.match(told.user, /^[\w.@-]+$/);
  });

  it('reads by way of the other where it may not, and then says what a change needs', async () => {
    await using at = await twoServers({ all: 0o600, read: 0o666 });
    await asNobody(async () => {
      const client = createClient(at.sockets);
      assert.equal((await client.get<{ name: string }>('/v1/status')).name, 'read');
      await assert.rejects(client.post('/v1/pin', {}), { code: 'denied', hint: /needs root/ });
    });
  });

  it('says what it needs where it may open neither, and asks no other than the one that is named', async () => {
    await using at = await twoServers({ all: 0o600, read: 0o600 });
    await asNobody(async () => {
      const both = createClient(at.sockets);
      await assert.rejects(both.get('/v1/status'), { code: 'denied', hint: /group siphon/ });
      const named = createClient({ all: at.sockets.all });
      await assert.rejects(named.get('/v1/status'), { code: 'denied', subject: at.sockets.all });
    });
  });

  it('takes a siphond that is not there for one', async () => {
    const client = createClient({ all: '/nonexistent/a.sock', read: '/nonexistent/b.sock' });
    await assert.rejects(client.get('/v1/status'), { code: 'unavailable', subject: /a\.sock/ });
  });
});
