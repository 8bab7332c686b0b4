/** What can go wrong: a refusal that is final, and, inside, a server that does not keep to the protocol. */
/** The client was told something final, or is used wrongly; it will not try again. */
export class ClientError extends Error {
    /**
     * @param {string} message What is wrong.
     * @param {string} [hint] What to do about it.
     */
    constructor(message: string, hint?: string);
    /** What to do about it. */
    hint: string | undefined;
    /** The recorder's code for it, where it answered with one: `not_found`, `pruned`, … @type {string | undefined} */
    code: string | undefined;
}
/** The server does not take the token: it is not valid, or not any more. */
export class TokenRefused extends ClientError {
    /** @param {string} message What the server said. */
    constructor(message: string);
}
/** The server broke the protocol, or something on the way did: the connection is not to be trusted. */
export class Violation extends Error {
}
