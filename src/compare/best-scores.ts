/**
 * The best scores of a long row and where each was, of equal ones the first. Memory is constant: what is worse than the
 * worst kept one is forgotten at once, so that nothing is made per element and nothing long is sorted.
 */
export class BestScores {
  /** A heap, the worst on top. */
  readonly #scores: Float64Array;
  readonly #places: Float64Array;
  #count = 0;

  constructor(most: number) {
    this.#scores = new Float64Array(most);
    this.#places = new Float64Array(most);
  }

  clear(): void {
    this.#count = 0;
  }

  /** `place` rises from call to call; the score is no NaN. */
  add(score: number, place: number): void {
    const scores = this.#scores;
    if (this.#count < scores.length) {
      this.#rise(this.#count++, score, place);
      return;
    }
    if (score > (scores[0] as number)) this.#sink(score, place);
  }

  /** Places, the best score first. */
  places(): number[] {
    const scores = this.#scores;
    return Array.from({ length: this.#count }, (_, i) => i)
      .sort((i, j) => (scores[j] as number) - (scores[i] as number) || this.#place(i) - this.#place(j))
      .map((i) => this.#place(i));
  }

  #place(i: number): number {
    return this.#places[i] as number;
  }

  /** Of equal scores the later one is the worse. */
  #worse(score: number, place: number, than: number): boolean {
    const other = this.#scores[than] as number;
    return score < other || (score === other && place > this.#place(than));
  }

  #set(i: number, score: number, place: number): void {
    this.#scores[i] = score;
    this.#places[i] = place;
  }

  #rise(from: number, score: number, place: number): void {
    let i = from;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!this.#worse(score, place, parent)) break;
      this.#set(i, this.#scores[parent] as number, this.#place(parent));
      i = parent;
    }
    this.#set(i, score, place);
  }

  #sink(score: number, place: number): void {
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= this.#count) break;
      const right = child + 1;
      if (right < this.#count && this.#worse(this.#scores[right] as number, this.#place(right), child))
        child = right;
      if (this.#worse(score, place, child)) break;
      this.#set(i, this.#scores[child] as number, this.#place(child));
      i = child;
    }
    this.#set(i, score, place);
  }
}
