/** A pickle of protocol 2 put together by hand: numbers are bytes, texts are ASCII as they stand. */
export function pickle(...parts: (number | string)[]): Buffer {
  const body = parts.map((part) => (typeof part === "number" ? Buffer.of(part) : Buffer.from(part, "latin1")));
  return Buffer.concat([Buffer.of(0x80, 2), ...body, Buffer.from(".")]);
}

/** BINUNICODE */
export function text(value: string): string {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(value.length);
  return `X${length.toString("latin1")}${value}`;
}

/** BININT */
export function integer(value: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return `J${bytes.toString("latin1")}`;
}

/** GLOBAL */
export function global(module: string, name: string): string {
  return `c${module}\n${name}\n`;
}

/** A tuple of any length. */
export function tuple(...parts: string[]): string {
  return `(${parts.join("")}t`;
}

/** A call of _rebuild_tensor_v2 on float storage `key`. */
export function tensor({
  key = "0",
  length = 4,
  offset = 0,
  shape = [2, 2],
  stride = [2, 1],
  storage = "FloatStorage",
} = {}): string {
  const id = tuple(text("storage"), global("torch", storage), text(key), text("cpu"), integer(length));
  const sizes = (values: number[]): string => tuple(...values.map(integer));
  const hooks = `${global("collections", "OrderedDict")})R`;
  const args = tuple(`${id}Q`, integer(offset), sizes(shape), sizes(stride), "\x89", hooks);
  return `${global("torch._utils", "_rebuild_tensor_v2")}${args}R`;
}

/** A pickled dict of texts to values. */
export function stateDict(entries: Record<string, string>): Buffer {
  const items = Object.entries(entries).flatMap(([name, value]) => [text(name), value]);
  return pickle("}(", ...items, "u");
}

interface ZipOptions {
  /** Write sizes and places as zip64 does for large files. */
  zip64?: boolean;
  /** The compression method that the directory states; 0 is stored. */
  method?: number;
}

/** A zip of stored entries, as torch.save makes one. */
export function zip(files: Record<string, Uint8Array>, { zip64 = false, method = 0 }: ZipOptions = {}): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let position = 0;
  const add = (bytes: Buffer): void => {
    parts.push(bytes);
    position += bytes.length;
  };
  for (const [name, data] of Object.entries(files)) {
    const nameBytes = Buffer.from(name);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(nameBytes.length, 26);
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(0x02014b50, 0);
    entry.writeUInt16LE(method, 10);
    entry.writeUInt32LE(zip64 ? 0xffffffff : data.length, 20);
    entry.writeUInt32LE(zip64 ? 0xffffffff : data.length, 24);
    entry.writeUInt16LE(nameBytes.length, 28);
    entry.writeUInt32LE(zip64 ? 0xffffffff : position, 42);
    const extra = Buffer.alloc(zip64 ? 28 : 0);
    if (zip64) {
      entry.writeUInt16LE(28, 30);
      extra.writeUInt16LE(1, 0);
      extra.writeUInt16LE(24, 2);
      extra.writeBigUInt64LE(BigInt(data.length), 4);
      extra.writeBigUInt64LE(BigInt(data.length), 12);
      extra.writeBigUInt64LE(BigInt(position), 20);
    }
    directory.push(entry, nameBytes, extra);
    add(Buffer.concat([local, nameBytes, Buffer.from(data)]));
  }
  const start = position;
  const count = Object.keys(files).length;
  add(Buffer.concat(directory));
  const size = position - start;
  if (zip64) {
    const end64 = Buffer.alloc(56);
    end64.writeUInt32LE(0x06064b50, 0);
    end64.writeBigUInt64LE(BigInt(count), 32);
    end64.writeBigUInt64LE(BigInt(size), 40);
    end64.writeBigUInt64LE(BigInt(start), 48);
    const locator = Buffer.alloc(20);
    locator.writeUInt32LE(0x07064b50, 0);
    locator.writeBigUInt64LE(BigInt(position), 8);
    add(Buffer.concat([end64, locator]));
  }
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(zip64 ? 0xffff : count, 10);
  end.writeUInt32LE(zip64 ? 0xffffffff : size, 12);
  end.writeUInt32LE(zip64 ? 0xffffffff : start, 16);
  add(end);
  return Buffer.concat(parts);
}
