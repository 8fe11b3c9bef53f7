// What a test hears, judged as telephony/siptest/tone does it in Go.
const rate = 8000;
const windowSize = rate / 5; // 200 ms
const hop = rate / 50;
const piece = rate / 200; // 5 ms
const size = 2048;
const near = 15; // Hz: how far off a tone may be
const skirt = 40; // Hz: what belongs to the tone by the form of the window
const clear = 20; // dB
const quiet = -50; // dBFS

const bell = Float64Array.from({ length: windowSize }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / windowSize));
const cosines = Float64Array.from({ length: size / 2 }, (_, n) => Math.cos((2 * Math.PI * n) / size));
const sines = Float64Array.from({ length: size / 2 }, (_, n) => -Math.sin((2 * Math.PI * n) / size));
const bits = Math.log2(size);
const places = Uint16Array.from({ length: size }, (_, n) => {
  let turned = 0;
  for (let b = 0; b < bits; b += 1) if (n & (1 << b)) turned |= 1 << (bits - 1 - b);
  return turned;
});

/** The magnitudes of one window. */
function spectrum(pcm, from) {
  const re = new Float64Array(size);
  const im = new Float64Array(size);
  let mean = 0;
  for (let n = 0; n < windowSize; n += 1) mean += pcm[from + n] / windowSize;
  for (let n = 0; n < windowSize; n += 1) re[places[n]] = ((pcm[from + n] - mean) / 32768) * bell[n];
  for (let half = 1; half < size; half *= 2) {
    const step = size / (2 * half);
    for (let at = 0; at < size; at += 2 * half) {
      for (let k = 0; k < half; k += 1) {
        const [c, s, a, b] = [cosines[k * step], sines[k * step], at + k, at + k + half];
        const [x, y] = [re[b] * c - im[b] * s, re[b] * s + im[b] * c];
        [re[b], im[b]] = [re[a] - x, im[a] - y];
        re[a] += x;
        im[a] += y;
      }
    }
  }
  return Float64Array.from({ length: size / 2 }, (_, n) => Math.hypot(re[n], im[n]));
}

function silentPieces(pcm) {
  return Array.from({ length: Math.floor(pcm.length / piece) }, (_, n) => {
    let sum = 0;
    for (let k = 0; k < piece; k += 1) sum += (pcm[n * piece + k] / 32768) ** 2;
    return sum === 0 || 10 * Math.log10(sum / piece) < quiet;
  });
}

/**
 * Looks for a tone in samples of 8 kHz: `level` is the median of dB over the strongest other tone, `longest` the longest
 * stretch in seconds without a break, `silent` the share of pieces of 5 ms that are.
 */
export function judge(pcm, hz) {
  const silent = silentPieces(pcm);
  const levels = [];
  const sum = new Float64Array(size / 2);
  let [run, longest] = [0, 0];
  for (let at = 0; at + windowSize <= pcm.length; at += hop) {
    const here = silent.slice(at / piece, (at + windowSize) / piece);
    let [tone, other] = [0, 0];
    spectrum(pcm, at).forEach((m, n) => {
      sum[n] += m;
      const f = (n * rate) / size;
      if (Math.abs(f - hz) <= near) tone = Math.max(tone, m);
      else if (Math.abs(f - hz) > skirt && f >= 50) other = Math.max(other, m);
    });
    const level = here.every(Boolean) ? 0 : 20 * Math.log10((tone + 1e-9) / (other + 1e-9));
    levels.push(level);
    run = level >= clear && !here.includes(true) ? run + 1 : 0;
    longest = Math.max(longest, run);
  }
  return {
    hz,
    seconds: pcm.length / rate,
    level: levels.length ? levels.sort((a, b) => a - b)[Math.floor(levels.length / 2)] : 0,
    longest: longest ? ((longest - 1) * hop + windowSize) / rate : 0,
    silent: silent.length ? silent.filter(Boolean).length / silent.length : 1,
    strongest: (sum.indexOf(Math.max(...sum)) * rate) / size,
  };
}

/** The channels of a WAV file of 16-bit PCM or A-law, as samples. */
export function readWAV(bytes) {
  let form;
  for (let at = 12; at + 8 <= bytes.length;) {
    const [name, length] = [bytes.toString('latin1', at, at + 4), bytes.readUInt32LE(at + 4)];
    const body = bytes.subarray(at + 8, at + 8 + length);
    if (name === 'fmt ') form = { kind: body.readUInt16LE(0), channels: body.readUInt16LE(2), rate: body.readUInt32LE(4), width: body.readUInt16LE(14) / 8 };
    if (name === 'data') {
      const sample = form.kind === 6 ? (place) => linear(body[place]) : (place) => body.readInt16LE(place);
      const step = form.width * form.channels;
      return Array.from({ length: form.channels }, (_, c) => Int16Array.from({ length: Math.floor(body.length / step) }, (__, n) => sample(n * step + c * form.width)));
    }
    at += 8 + length + (length % 2);
  }
  throw new Error('the file has no sound');
}

/** A sample of A-law (ITU-T G.711). */
function linear(code) {
  const value = code ^ 0x55;
  const [exponent, mantissa] = [(value >> 4) & 7, ((value & 15) << 4) + 8];
  const size = exponent === 0 ? mantissa : (mantissa + 0x100) << (exponent - 1);
  return value & 0x80 ? size : -size;
}
