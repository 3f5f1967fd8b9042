/** A seeded source of numbers in [0, 1); its state is one 32-bit word, so that it can be stored and resumed. */
export interface Random {
  next(): number;
  state(): number;
}

/** Mulberry32 (T. Ettinger, public domain): period 2^32, passes gjrand; for resampling and choosing, not for secrets. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  return {
    next() {
      state = (state + 0x6d2b79f5) >>> 0;
      let word = Math.imul(state ^ (state >>> 15), state | 1);
      word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
      return ((word ^ (word >>> 14)) >>> 0) / 4_294_967_296;
    },
    state: () => state,
  };
}
