/** Why one source could not deliver libtorch. Set-up goes on to the next source and reports all of them at the end. */
export class SourceFailure extends Error {
  /** What the reader can do: a command where there is one. */
  readonly hint: string;

  constructor(message: string, hint: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "SourceFailure";
    this.hint = hint;
  }
}

/** True for errors of node:fs that another source cannot mend: the disk is full or the folder is not ours. */
export function isDiskError(error: unknown): error is NodeJS.ErrnoException {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return code !== undefined && ["ENOSPC", "EDQUOT", "EACCES", "EPERM", "EROFS", "ENOTDIR", "EEXIST"].includes(code);
}
