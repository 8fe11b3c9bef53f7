// The real program as a process. Everything here is what an operator does by hand: build, start, ask for his token.
import { execFile, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

const folders = [];
const running = new Set();
const databases = new Set();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
  for (const drop of databases) drop();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));

function folder(name) {
  const made = mkdtempSync(join(tmpdir(), name));
  folders.push(made);
  return made;
}

let built;

/** The program, built once; TRIBUTARY_BINARY names one that was built before. */
export function binary() {
  built ??= (async () => {
    if (process.env.TRIBUTARY_BINARY) return process.env.TRIBUTARY_BINARY;
    const out = join(folder('tributary-bin-'), 'tributary');
    await run('go', ['build', '-o', out, '.'], { cwd: root, maxBuffer: 16 << 20 });
    return out;
  })();
  return built;
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** A running program. */
export class Node {
  static async start({ databaseURL } = {}) {
    const node = new Node();
    node.bin = await binary();
    node.data = folder('tributary-data-');
    const http = `127.0.0.1:${await freePort()}`;
    node.url = `http://${http}`;
    // Tests log in and write more than people do.
    const args = ['serve', '--data', node.data, '--http', http,
      '--logins-per-agent', '100000/1m', '--logins-per-address', '100000/1m', '--visitor-messages', '100000/1m',
      '--anonymous-queries', '1000000/1m', '--budget-agent', '100000000@10000000', '--budget-visitor', '100000000@10000000',
      '--allow-dial', 'callback=127.0.0.0/8', '--allow-dial', 'media=127.0.0.0/8'];
    if (databaseURL) args.push('--database-url', databaseURL);
    node.log = '';
    // The settings of whoever runs the test are not the test's.
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TRIBUTARY_')));
    node.child = spawn(node.bin, args, { stdio: ['ignore', 'ignore', 'pipe'], env });
    running.add(node.child);
    node.child.stderr.setEncoding('utf8').on('data', (text) => { node.log = (node.log + text).slice(-200_000); });
    node.ended = new Promise((resolve) => node.child.once('exit', (code, signal) => {
      running.delete(node.child);
      resolve({ code, signal });
    }));
    await node.ready(30_000);
    return node;
  }

  async ready(ms) {
    const until = Date.now() + ms;
    let gone = null;
    this.ended.then((how) => { gone = how; });
    while (Date.now() < until) {
      if (gone) throw new Error(`the program ended: ${JSON.stringify(gone)}\n${this.log}`);
      const answer = await fetch(`${this.url}/readyz`, { signal: AbortSignal.timeout(1000) }).catch(() => null);
      if (answer?.ok) return;
      await new Promise((resolve) => setTimeout(resolve, 10)); // over a process boundary there is no other signal
    }
    throw new Error(`not ready after ${ms} ms\n${this.log}`);
  }

  /** What the command `token` prints on this machine. */
  async operatorToken() {
    return (await run(this.bin, ['token', '--data', this.data])).stdout.trim();
  }

  /** Asks it to stop, as an operator does. */
  terminate() {
    this.child.kill('SIGTERM');
  }

  async kill() {
    this.child.kill('SIGKILL');
    await this.ended;
  }
}

/** A new PostgreSQL database beside that of the URL, dropped by the function that comes with it. */
export function postgres(url) {
  const name = `tributary_e2e_${process.pid}_${Date.now().toString(36)}`;
  const sql = (text) => execFileSync('psql', ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', url, '-c', text], { stdio: 'pipe' });
  sql(`CREATE DATABASE ${name} TEMPLATE template0`);
  const own = new URL(url);
  own.pathname = `/${name}`;
  const drop = () => {
    databases.delete(drop);
    sql(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
  };
  databases.add(drop);
  return { url: own.href, drop };
}

/** Why PostgreSQL cannot be used here; empty if it can. */
export function postgresMissing() {
  if (!process.env.TEST_DATABASE_URL) return 'TEST_DATABASE_URL is not set';
  try {
    execFileSync('psql', ['--version'], { stdio: 'pipe' });
    return '';
  } catch {
    return 'psql is not installed';
  }
}
