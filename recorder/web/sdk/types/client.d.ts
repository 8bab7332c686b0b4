/**
 * Subscribe to a recorder.
 *
 * @param {import("./client/options.js").Options} [options]
 * @returns {Subscription} It connects at once.
 * @throws {import("./client/errors.js").ClientError} An option is not valid.
 */
export function subscribe(options?: import("./client/options.js").Options): Subscription;
/**
 * Read what was recorded.
 *
 * @param {import("./client/reading.js").ReaderOptions} [options]
 * @returns {Reader} Nothing is asked before it is needed.
 * @throws {import("./client/errors.js").ClientError} An option is not valid.
 */
export function reader(options?: import("./client/reading.js").ReaderOptions): Reader;
/**
 * Verify the chain of what is recorded.
 *
 * @param {Partial<import("./client/verify.js").VerifyOptions>} [options]
 * @returns {Promise<import("./client/verify.js").Report>}
 */
export function verify(options?: Partial<import("./client/verify.js").VerifyOptions>): Promise<import("./client/verify.js").Report>;
export { Reader } from "./client/reading.js";
export { Status } from "./client/status.js";
export { Subscription } from "./client/subscription.js";
import { Subscription } from "./client/subscription.js";
import { Reader } from "./client/reading.js";
export { ChainBroken, PROOFS } from "./client/chain.js";
export { ClientError, TokenRefused } from "./client/errors.js";
export { Delta, Live, Reset, State } from "./client/events.js";
export { ExactNumber, parseExact } from "./client/json.js";
