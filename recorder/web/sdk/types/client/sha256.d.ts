/**
 * The digest of a message.
 *
 * @param {Uint8Array} message
 * @returns {Uint8Array} 32 bytes.
 */
export function sha256(message: Uint8Array): Uint8Array;
