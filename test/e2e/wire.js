// A wire between a page and the program that can be cut, and that can lose an answer on the way back.
import { connect, createServer } from 'node:net';

/** Takes connections and hands their bytes on. */
export class Wire {
  static async to(url) {
    const wire = new Wire();
    wire.target = new URL(url);
    wire.pairs = new Set();
    wire.whole = true;
    wire.lost = 0;
    wire.server = createServer((near) => wire.join(near));
    await new Promise((resolve) => wire.server.listen(0, '127.0.0.1', resolve));
    wire.url = `http://127.0.0.1:${wire.server.address().port}`;
    return wire;
  }

  join(near) {
    if (!this.whole) {
      near.resetAndDestroy();
      return;
    }
    const far = connect(Number(this.target.port), this.target.hostname);
    const pair = { near, far, losing: false };
    this.pairs.add(pair);
    const end = () => {
      this.pairs.delete(pair);
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) socket.on('error', end).on('close', end).setNoDelay(true);
    near.on('data', (bytes) => {
      if (this.losing?.times > 0 && bytes.includes(this.losing.text)) {
        this.losing.times -= 1;
        pair.losing = true;
      }
      far.write(bytes);
    });
    far.on('data', (bytes) => {
      if (!pair.losing) {
        near.write(bytes);
        return;
      }
      this.lost += 1; // the program has done it, and nobody hears of it
      end();
    });
  }

  /**
   * Loses the answers to the next four requests whose bytes hold the text. A browser mends a few by itself: a request that
   * failed on a connection used before it sends again, the same bytes, also of a POST. More than that the page must mend.
   */
  lose(text) {
    this.losing = { text, times: 4 };
  }

  cut() {
    this.whole = false;
    for (const { near, far } of this.pairs) {
      near.resetAndDestroy();
      far.destroy();
    }
  }

  mend() {
    this.whole = true;
  }

  stop() {
    this.cut();
    this.server.close();
  }
}
