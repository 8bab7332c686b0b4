/** What can go wrong: a refusal that is final, and, inside, a server that does not keep to the protocol. */

/** The client was told something final, or is used wrongly; it will not try again. */
export class ClientError extends Error {
  /**
   * @param {string} message What is wrong.
   * @param {string} [hint] What to do about it.
   */
  constructor(message, hint) {
    super(hint === undefined ? message : `${message} (${hint})`);
    this.name = "ClientError";
    /** What to do about it. */
    this.hint = hint;
  }
}

/** The server broke the protocol, or something on the way did: the connection is not to be trusted. */
export class Violation extends Error {}
