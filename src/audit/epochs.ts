/**
 * One statistic over the whole of the evidence and over its current epoch: a slow drift drowns in the whole, but
 * shows in the epoch in which it has become large. Each epoch begins anew and spends its own share of alpha.
 */
export interface Epochs<T> {
  readonly whole: T;
  readonly recent: T;
  /** 0 for the first epoch. */
  readonly epoch: number;
  /** Applies an observation to both; begins a new epoch first when the current one is full. */
  add(observe: (statistic: T) => void): void;
}

/** Plain JSON where T is. */
export interface EpochsSnapshot<T> {
  readonly whole: T;
  readonly recent: T;
  readonly epoch: number;
  readonly inEpoch: number;
}

export function createEpochs<T>(options: {
  /** Observations per epoch. */
  readonly length: number;
  readonly create: () => T;
  readonly restored?: { whole: T; recent: T; epoch: number; inEpoch: number } | undefined;
}): Epochs<T> & { readonly inEpoch: number } {
  const { length, create, restored } = options;
  const whole = restored?.whole ?? create();
  let recent = restored?.recent ?? create();
  let epoch = restored?.epoch ?? 0;
  let inEpoch = restored?.inEpoch ?? 0;
  return {
    whole,
    get recent() {
      return recent;
    },
    get epoch() {
      return epoch;
    },
    get inEpoch() {
      return inEpoch;
    },
    add(observe) {
      if (inEpoch >= length) {
        recent = create();
        epoch += 1;
        inEpoch = 0;
      }
      inEpoch += 1;
      observe(whole);
      observe(recent);
    },
  };
}

/** Shares of alpha that sum to 1 over all epochs, or over all restarts: 1/2, 1/6, 1/12, ... */
export function spendingShare(index: number): number {
  return 1 / ((index + 1) * (index + 2));
}

/** How often something happened in so many observations. */
export interface Tally {
  events: number;
  n: number;
}
