// The real program as a process. Everything here is what an operator does by hand: build, start, ask for his token.
import { execFile, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
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

const built = new Map();

/** A program of this repository, by its package, built once. */
export function build(path) {
  if (!built.has(path)) {
    built.set(path, (async () => {
      const out = join(folder('tributary-bin-'), path === '.' ? 'tributary' : basename(path));
      await run('go', ['build', '-o', out, path], { cwd: root, maxBuffer: 16 << 20 });
      return out;
    })());
  }
  return built.get(path);
}

/** The program itself; TRIBUTARY_BINARY names one that was built before. */
export async function binary() {
  return process.env.TRIBUTARY_BINARY || build('.');
}

/** A port nobody listens at, below those that outgoing connections get: one of these could take it while we restart. */
async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const free = await new Promise((resolve) => {
      const server = createServer().once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (free) return port;
  }
}

/** A running program. */
export class Node {
  static async start({ databaseURL, command = ['serve'], more = [] } = {}) {
    const node = new Node();
    node.bin = await binary();
    node.data = folder('tributary-data-');
    const http = `127.0.0.1:${await freePort()}`;
    node.url = `http://${http}`;
    // Tests log in and write more than people do.
    node.args = [...command, '--data', node.data, '--http', http,
      '--logins-per-agent', '100000/1m', '--logins-per-address', '100000/1m', '--visitor-messages', '100000/1m',
      '--anonymous-queries', '1000000/1m', '--budget-agent', '100000000@10000000', '--budget-visitor', '100000000@10000000',
      '--allow-dial', 'callback=127.0.0.0/8', '--allow-dial', 'media=127.0.0.0/8', '--sip-trunk', 'off', '--sip-phone', 'off'];
    if (databaseURL) node.args.push('--database-url', databaseURL);
    node.args.push(...more);
    node.log = '';
    node.printed = '';
    await node.launch();
    return node;
  }

  /** Runs the program, also once more on the same data and port. */
  async launch() {
    // The settings of whoever runs the test are not the test's.
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TRIBUTARY_')));
    const child = spawn(this.bin, this.args, { stdio: ['ignore', 'pipe', 'pipe'], env });
    this.child = child;
    running.add(child);
    child.stdout.setEncoding('utf8').on('data', (text) => { this.printed = (this.printed + text).slice(-200_000); });
    child.stderr.setEncoding('utf8').on('data', (text) => { this.log = (this.log + text).slice(-200_000); });
    this.ended = new Promise((resolve) => child.once('exit', (code, signal) => {
      running.delete(child);
      resolve({ code, signal });
    }));
    await this.ready(30_000);
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
    const keys = this.args.indexOf('--key-file');
    return (await run(this.bin, ['token', '--data', this.data, ...(keys < 0 ? [] : this.args.slice(keys, keys + 2))])).stdout.trim();
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

/** An address nobody listens at. */
export const freeAddress = async () => `127.0.0.1:${await freePort()}`;

/** A folder that goes when the test ends. */
export const scratch = (name) => folder(name);

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
  /** What only time does otherwise. */
  const query = (text) => execFileSync('psql', ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', own.href, '-c', text], { encoding: 'utf8' }).trim();
  return { url: own.href, drop, query };
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
