/** A step of set-up failed: what was looked for and found, and the command that helps. */
export class SetupError extends Error {
  /**
   * @param {string} message
   * @param {string} hint
   */
  constructor(message, hint) {
    super(message);
    this.name = "SetupError";
    this.hint = hint;
  }
}
