/** Live requests as work beside them sees it, so that it keeps out of their way. */
export interface LiveLoad {
  /** Requests being answered at this moment, over all models. */
  readonly inFlight: number;
  /** Requests begun since the gateway started; a change tells that one came in between. */
  readonly begun: number;
}
