// What end-to-end tests of mail rely on, against the real servers.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import test from 'node:test';
import { until } from './client.js';
import { mailFor, plainMail, withID } from './mail.js';

const help = 'help@local.test';
const ann = 'ann@example.com';

test('a mail server', { timeout: 60_000 }, async (t) => {
  const mail = await mailFor(t);
  if (!mail) return;
  try {
    await t.test('a customer writes and is proved', async (s) => {
      const { raw, id } = plainMail({ from: `Ann <${ann}>`, to: help, subject: 'hello', text: 'Grüße, 你好\n.\n..dots' });
      const began = performance.now();
      assert.match(await mail.submit({ user: ann, to: ['help+c42.mac@local.test', 'sales@local.test'], raw }), /^250 /);
      const got = await mail.arrives(help, withID(id));
      s.diagnostic(`${(performance.now() - began).toFixed(0)} ms from handing in to the mailbox`);
      assert.deepEqual(got.header('authentication-results'), ['mx.local.test; dmarc=pass header.from=example.com']);
      assert.deepEqual([got.header('delivered-to'), got.header('return-path')], [['help+c42.mac@local.test'], [`<${ann}>`]]);
      assert.equal(got.text.replaceAll('\r', '').split('\n\n')[1], 'Grüße, 你好\n.\n..dots\n');
      assert.ok(await mail.arrives('sales@local.test', withID(id)));
    });

    await t.test('a stranger writes and is not, whatever he says', async () => {
      const { raw, id } = plainMail({ from: ann, to: help, subject: 'forged', text: 'x', header: ['Authentication-Results: mx.local.test;', '\tdmarc=pass'] });
      await mail.receive({ from: ann, to: help, raw });
      assert.deepEqual((await mail.arrives(help, withID(id))).header('authentication-results'), []);
    });

    await t.test('bytes come as they were', async () => {
      const { raw, id } = plainMail({ from: ann, to: help, subject: 'bytes', text: '?' });
      const odd = Buffer.from([0xc4, 0xe3, 0xba, 0xc3, 0xe9]);
      await mail.deliver({ from: ann, to: [help, 'sales@local.test'], raw: Buffer.concat([Buffer.from(raw.trimEnd().slice(0, -1)), odd]) });
      assert.ok((await mail.arrives(help, withID(id))).raw.includes(odd));
    });

    await t.test('reports and refusals', async () => {
      const { raw, id } = plainMail({ from: help, to: 'gone@example.com', subject: 'to nobody', text: 'x' });
      await mail.submit({ user: help, from: 'help+b7.mac@local.test', to: 'gone@example.com', raw });
      const report = await mail.arrives(help, (m) => m.text.includes(`Message-ID: ${id}`));
      assert.deepEqual([report.header('delivered-to'), report.header('return-path')], [['help+b7.mac@local.test'], ['<>']]);
      assert.match(report.text, /^Status: 5\.1\.1/m);
      await assert.rejects(mail.submit({ user: help, to: 'refused@example.com', raw }), { code: 550 });
      await assert.rejects(mail.receive({ from: help, to: 'x@elsewhere.test', raw }), { code: 554 });
    });

    await t.test('gone and back', async () => {
      const before = mail.letters(help).map((m) => m.text);
      await mail.stop();
      await assert.rejects(mail.receive({ from: ann, to: help, raw: 'x' }), { code: 'ECONNREFUSED' });
      await mail.start();
      await mail.renumber(help);
      assert.deepEqual(mail.letters(help).map((m) => m.text), before);
    });
  } finally {
    await mail.end();
  }
  assert.ok(!existsSync(mail.dir));

  await t.test('it ends with who started it', async () => {
    const code = `import { Mail } from ${JSON.stringify(new URL('./mail.js', import.meta.url).href)};
      console.log((await Mail.start()).dir); process.kill(process.pid, 'SIGKILL');`;
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' });
    assert.match(stdout, /tributary-mail-/);
    await until('the folder is gone', () => !existsSync(stdout.trim()));
  });
});
