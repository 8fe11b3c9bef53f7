// A real mail server of one test: Dovecot and Postfix, as ../mail/server.sh runs them; what they do with which address is
// written there.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { connect as secure } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { until, within } from './client.js';

const script = fileURLToPath(new URL('../mail/server.sh', import.meta.url));

/** Everybody's password. */
export const password = 'secret';

/** The server cannot run on this machine; the message says why. */
export class MailMissing extends Error {}

/**
 * A server for this test, or nothing where it cannot run or something else is missing: then the test is skipped, loudly,
 * and where servers are required it fails.
 */
export async function mailFor(t, missing = '') {
  try {
    if (missing) throw new MailMissing(missing);
    return await Mail.start();
  } catch (e) {
    if (!(e instanceof MailMissing)) throw e;
    console.error(`${'#'.repeat(72)}\n# SKIPPED: ${t.name}: ${e.message}\n${'#'.repeat(72)}`);
    if (process.env.TEST_REQUIRE_SERVERS === '1') throw new Error(`TEST_REQUIRE_SERVERS=1, and ${e.message}`);
    t.skip(e.message);
    return null;
  }
}

export class Mail {
  /** Starts a server; it is gone after end(), or when this process is. Throws MailMissing where it cannot run. */
  static async start() {
    const mail = new Mail();
    // A group of its own lets it clean up when the terminal interrupts the tests.
    mail.child = spawn(script, [], { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    mail.errors = '';
    mail.child.stderr.setEncoding('utf8').on('data', (text) => { mail.errors += text; });
    mail.child.stdin.on('error', () => {}); // it is gone: the next answer says so
    mail.ended = new Promise((resolve) => mail.child.once('close', resolve).once('error', (e) => { mail.errors += e.message; resolve(3); }));
    mail.lines = createInterface({ input: mail.child.stdout })[Symbol.asyncIterator]();
    const first = await within('the mail server', mail.lines.next(), 60_000);
    if (first.done) throw new ((await mail.ended) === 3 ? MailMissing : Error)(`the mail server did not start: ${mail.errors.trim()}`);
    // dir, ca (the certificate's path), and host:port of imap, imaps, smtp, submission, submissions, lmtp
    Object.assign(mail, JSON.parse(first.value));
    return mail;
  }

  async #command(words) {
    this.child.stdin.write(`${words}\n`);
    const { value } = await within(`the mail server's answer to ${words}`, this.lines.next(), 60_000);
    if (value !== 'ok') throw new Error(`${words}: ${value ?? 'the mail server is gone'}\n${this.errors}`);
  }

  /** Both servers are gone; what is in mailboxes and queues stays. */
  stop() { return this.#command('stop'); }

  /** They are back at the same addresses. */
  start() { return this.#command('start'); }

  /** The folder gets a new UIDVALIDITY, its mails new UIDs. */
  renumber(user, folder = 'INBOX') { return this.#command(`renumber ${user} ${folder}`); }

  async end() {
    this.child.stdin.end();
    await this.ended;
  }

  /** Puts a mail into mailboxes as it is: one copy for each, which says to which address it came. */
  async deliver({ from = '', to, raw }) {
    for (const one of [to].flat()) await hand(this.lmtp, { hello: 'LHLO', from, to: one, raw });
  }

  /** Hands in a mail from the outside world, without a login. */
  receive({ from = '', to, raw }) { return hand(this.smtp, { from, to, raw }); }

  /** Hands in a mail as one who logged in. */
  submit({ user, from = user, to, raw }) { return hand(this.submission, { user, ca: readFileSync(this.ca), from, to, raw }); }

  /** The mails of a folder in the order in which they came, read from the disk: { raw, text, flags, header(name) }. */
  letters(user, folder = 'INBOX') {
    const box = join(this.dir, 'mail', user, 'Maildir', folder === 'INBOX' ? '' : `.${folder}`);
    for (let tries = 0; tries < 100; tries += 1) {
      try {
        return ['new', 'cur'].flatMap((part) => files(join(box, part))).sort((a, b) => came(a) - came(b) || (a < b ? -1 : 1)).map(letter);
      } catch (e) {
        if (e.code !== 'ENOENT') throw e; // else the server gave a file another name meanwhile
      }
    }
    throw new Error(`${box} does not come to rest`);
  }

  /** The mail with this Message-ID as the server gives it to one who logs in, by IMAP. */
  async read(user, id) {
    const [host, port] = this.imaps.split(':');
    const socket = secure({ host, port: Number(port), ca: readFileSync(this.ca), servername: 'localhost' });
    let all = Buffer.alloc(0);
    let look = () => {};
    socket.on('data', (bytes) => {
      all = Buffer.concat([all, bytes]);
      look();
    }).on('error', () => {}); // the silence is told
    /** The whole answer to a command: its last line begins with the tag, and ends it. */
    const command = async (tag, words) => {
      all = Buffer.alloc(0);
      const answered = new Promise((resolve) => {
        look = () => {
          const last = all.lastIndexOf(`${tag} `);
          if (last >= 0 && all.includes('\r\n', last)) resolve(all.subarray(last).toString('latin1'));
        };
      });
      socket.write(`${tag} ${words}\r\n`);
      const last = await within(`an answer to ${words}`, answered);
      assert.ok(last.startsWith(`${tag} OK `), `${words}: ${last}`);
      return all;
    };
    try {
      await within('TLS', once(socket, 'secureConnect'));
      await command('read-a', `LOGIN ${user} ${password}`);
      await command('read-b', 'EXAMINE INBOX');
      const [, number] = /^\* SEARCH (\d+)\r\n/m.exec((await command('read-c', `SEARCH HEADER Message-ID "${id}"`)).toString('latin1')) ?? [];
      assert.ok(number, `${user} has no mail ${id}`);
      const got = await command('read-d', `FETCH ${number} (BODY.PEEK[])`);
      const [before, size] = /^[^{]*\{(\d+)\}\r\n/.exec(got.toString('latin1'));
      return got.subarray(before.length, before.length + Number(size));
    } finally {
      socket.destroy();
    }
  }

  /** Waits for a mail that this is true of. */
  arrives(user, is, ms) {
    return until(`a mail for ${user}`, () => this.letters(user).find(is), ms);
  }
}

function files(folder) {
  try {
    return readdirSync(folder).map((name) => join(folder, name));
  } catch (e) {
    if (e.code === 'ENOENT') return []; // nobody wrote to him yet
    throw e;
  }
}

/** When a mail came, in microseconds, as its file's name tells: 1700000000.M123456P… */
function came(file) {
  const [, seconds, micros] = /(\d+)\.M(\d+)P[^/]*$/.exec(file) ?? [0, 0, 0];
  return Number(seconds) * 1e6 + Number(micros);
}

function letter(file) {
  const raw = readFileSync(file);
  const text = raw.toString('utf8');
  const head = text.split(/\r?\n\r?\n/, 1)[0].replace(/\r?\n(?=[ \t])/g, '');
  return {
    raw,
    text,
    flags: file.split(':2,')[1] ?? '',
    header: (name) => head.split(/\r?\n/).filter((line) => line.toLowerCase().startsWith(`${name.toLowerCase()}:`)).map((line) => line.slice(name.length + 1).trim()),
  };
}

/** One side of a conversation in SMTP. */
class Wire {
  constructor(socket) {
    this.socket = socket;
    socket.on('error', () => {}); // the iterator throws it
    this.lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  }

  /** Says something, and takes no other answer than this code. */
  async say(words, code) {
    if (words !== null) this.socket.write(`${words}\r\n`);
    for (;;) {
      const { value: line, done } = await within('an answer', this.lines.next());
      if (done) throw new Error(`the server ended the conversation after ${words}`);
      if (line[3] === '-') continue;
      if (!line.startsWith(code)) throw Object.assign(new Error(`${words}: ${line}`), { code: Number(line.slice(0, 3)), line });
      return line;
    }
  }
}

/** Hands in one mail; a refusal is an Error with the server's code. */
async function hand(address, { hello = 'EHLO', user, ca, from, to, raw }) {
  const [host, port] = address.split(':');
  const plain = connect(Number(port), host);
  await within('the connection', once(plain, 'connect'));
  let wire = new Wire(plain);
  try {
    await wire.say(null, '220');
    await wire.say(`${hello} sender.test`, '250');
    if (user) wire = await login(wire, ca, user);
    await wire.say(`MAIL FROM:<${from}> BODY=8BITMIME`, '250');
    for (const one of [to].flat()) await wire.say(`RCPT TO:<${one}>`, '250');
    await wire.say('DATA', '354');
    const bytes = Buffer.from(raw);
    // latin1 keeps each byte as it is
    const lines = bytes.toString('latin1').replace(/\r?\n/g, '\r\n').replace(/^\./gm, '..');
    wire.socket.write(Buffer.from(lines.endsWith('\r\n') ? lines : `${lines}\r\n`, 'latin1'));
    const answer = await wire.say('.', '250');
    await wire.say('QUIT', '221').catch(() => {}); // the mail is theirs already
    return answer;
  } finally {
    plain.destroy();
  }
}

/** Goes over to TLS; the wire that it returns speaks inside. */
async function login(wire, ca, user) {
  await wire.say('STARTTLS', '220');
  await wire.lines.return(); // TLS reads now
  const inside = secure({ socket: wire.socket, ca, servername: 'localhost' });
  await within('TLS', once(inside, 'secureConnect'));
  const safe = new Wire(inside);
  await safe.say('EHLO sender.test', '250');
  await safe.say(`AUTH PLAIN ${Buffer.from(`\0${user}\0${password}`).toString('base64')}`, '235');
  return safe;
}

let serial = 0;

/** A small mail with a Message-ID of its own, and files in it if there are some: { raw, id }. */
export function plainMail({ from, to, subject, text, header = [], files = [] }) {
  serial += 1;
  const id = `<${process.pid}.${Date.now()}.${serial}@sender.test>`;
  const head = [`From: ${from}`, `To: ${to}`, `Subject: ${subject}`, `Message-ID: ${id}`, `Date: ${new Date().toUTCString().replace('GMT', '+0000')}`, 'MIME-Version: 1.0'];
  const body = ['Content-Type: text/plain; charset=utf-8', 'Content-Transfer-Encoding: 8bit'];
  if (!files.length) return { raw: `${[...head, ...body, ...header].join('\r\n')}\r\n\r\n${text}\r\n`, id };
  const parts = [`${body.join('\r\n')}\r\n\r\n${text}`, ...files.map(({ name, type, bytes }) => `Content-Type: ${type}\r\nContent-Transfer-Encoding: base64\r\n`
    + `Content-Disposition: attachment; filename="${name}"\r\n\r\n${bytes.toString('base64').replace(/.{76}/g, '$&\r\n')}`)];
  const mark = `=_${serial}_${Date.now()}`;
  return { raw: `${[...head, `Content-Type: multipart/mixed; boundary="${mark}"`, ...header].join('\r\n')}\r\n\r\n${parts.map((p) => `--${mark}\r\n${p}\r\n`).join('')}--${mark}--\r\n`, id };
}

/** The files in a mail, as its reader's program saves them: [{ name, type, bytes }]. */
export function filesOf(raw) {
  const text = raw.toString('latin1'); // keeps each byte as it is
  const at = text.search(/\r?\n\r?\n/);
  const head = text.slice(0, at).replace(/\r?\n(?=[ \t])/g, '');
  const body = text.slice(at).replace(/^\r?\n\r?\n/, '');
  const [, type = 'text/plain'] = /^content-type:\s*([^;\s]+)/im.exec(head) ?? [];
  if (type.startsWith('multipart/')) {
    const [, mark] = /^content-type:.*?boundary="?([^";\r\n]+)/im.exec(head);
    return body.split(`--${mark}`).slice(1, -1).flatMap((part) => filesOf(Buffer.from(part.replace(/^\r?\n/, ''), 'latin1')));
  }
  const [, name] = /^content-disposition:.*?filename="?([^";\r\n]+)/im.exec(head) ?? [];
  if (!name) return [];
  assert.match(head, /^content-transfer-encoding:\s*base64/im);
  return [{ name, type, bytes: Buffer.from(body, 'base64') }];
}

/** Is true of the mail with this Message-ID. */
export const withID = (id) => (mail) => mail.header('message-id').includes(id);
