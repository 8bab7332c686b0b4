/**
 * @typedef {object} Report
 * @property {number} checked Deltas that were looked at.
 * @property {number} proven Those whose hash was computed, and equal.
 * @property {Record<string, number>} unproven How many could not be verified, by the reason in words.
 * @property {number | null} first The seq of the first one looked at.
 * @property {number | null} last The seq of the last one.
 * @property {{seq: number, why: string} | null} bad The first place where the chain does not hold.
 */
/**
 * @typedef {object} VerifyOptions
 * @property {string} url Where the recorder is.
 * @property {import("./options.js").Options["token"]} [token]
 * @property {number} [after] Only what follows this seq.
 * @property {AbortSignal} [signal] Ends it: it throws the signal's reason.
 * @property {(report: Report) => void} [onProgress] Gets the report so far, after each page.
 */
/**
 * Verify what is recorded.
 *
 * It begins at the hash that the last prune has left, or at the very first delta; after another seq the first delta's
 * own hash is taken as it stands. It ends where the recording ended when the last page was asked for.
 *
 * @param {VerifyOptions} options
 * @returns {Promise<Report>}
 * @throws {ClientError} The recorder cannot be asked.
 */
export function verify({ url, token, after, signal, onProgress }: VerifyOptions): Promise<Report>;
export type Report = {
    /**
     * Deltas that were looked at.
     */
    checked: number;
    /**
     * Those whose hash was computed, and equal.
     */
    proven: number;
    /**
     * How many could not be verified, by the reason in words.
     */
    unproven: Record<string, number>;
    /**
     * The seq of the first one looked at.
     */
    first: number | null;
    /**
     * The seq of the last one.
     */
    last: number | null;
    /**
     * The first place where the chain does not hold.
     */
    bad: {
        seq: number;
        why: string;
    } | null;
};
export type VerifyOptions = {
    /**
     * Where the recorder is.
     */
    url: string;
    token?: import("./options.js").Options["token"];
    /**
     * Only what follows this seq.
     */
    after?: number | undefined;
    /**
     * Ends it: it throws the signal's reason.
     */
    signal?: AbortSignal | undefined;
    /**
     * Gets the report so far, after each page.
     */
    onProgress?: ((report: Report) => void) | undefined;
};
