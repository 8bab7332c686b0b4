/**
 * @param {string} text
 * @param {number} start
 * @returns {number} The first place from there on that is no white space.
 */
export function skipSpace(text: string, start: number): number;
/**
 * @param {string} text
 * @param {number} start The opening quote of a string.
 * @returns {number} Behind the closing one.
 */
export function stringEnd(text: string, start: number): number;
/**
 * The members of an object.
 *
 * @param {string} text
 * @returns {Generator<[string, string]>} Names, and the texts of their values as they stand.
 */
export function members(text: string): Generator<[string, string]>;
/**
 * The text of a member; of a name given twice the last one counts.
 *
 * @param {string} text Of an object.
 * @param {string} wanted
 * @returns {string | undefined}
 */
export function member(text: string, wanted: string): string | undefined;
/**
 * The elements of an array.
 *
 * @param {string} text
 * @returns {Generator<string>} Their texts, as they stand.
 */
export function elements(text: string): Generator<string>;
/**
 * What `JSON.parse` gives, but for numbers that it would change: these become `ExactNumber`s.
 *
 * @param {string} text
 * @returns {any}
 * @throws {SyntaxError} It is not JSON.
 */
export function parseExact(text: string): any;
/** A number that a JavaScript number would not spell the same: too long, too precise, or written another way. */
export class ExactNumber {
    /** @param {string} text As it was published. */
    constructor(text: string);
    /** As it was published. */
    text: string;
    toString(): string;
    valueOf(): number;
    toJSON(): number;
}
