import { CheckpointError } from "../errors.js";
import { elementCount, type TensorDtype } from "./tensor-file.js";

/** A storage that a pickle refers to; its bytes stand elsewhere in the file. */
export class PickledStorage {
  constructor(
    readonly key: string,
    readonly dtype: TensorDtype,
    /** In elements. */
    readonly length: number,
  ) {}
}

/** A view of a storage; offset and strides in elements. */
export class PickledTensor {
  constructor(
    readonly storage: PickledStorage,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly stride: readonly number[],
  ) {}
}

/** The name of something in Python: looked up in a list here, never imported. */
class Global {
  constructor(readonly name: string) {}
}

/** Everything that the allowed opcodes can make; tuples and lists are both arrays. */
export type PickleValue =
  | null
  | boolean
  | number
  | string
  | PickleValue[]
  | Map<PickleKey, PickleValue>
  | Global
  | PickledStorage
  | PickledTensor;

type PickleKey = null | boolean | number | string;

const storageDtypes: Record<string, TensorDtype> = {
  "torch.FloatStorage": "F32",
  "torch.HalfStorage": "F16",
  "torch.BFloat16Storage": "BF16",
  "torch.DoubleStorage": "F64",
  "torch.LongStorage": "I64",
  "torch.IntStorage": "I32",
  "torch.ShortStorage": "I16",
  "torch.CharStorage": "I8",
  "torch.ByteStorage": "U8",
  "torch.BoolStorage": "BOOL",
};

type Call = (pickle: Unpickler, args: PickleValue[]) => PickleValue;

/** All that a state dict is made of. None of it runs code of the file's choosing. */
const calls: Record<string, Call> = {
  "collections.OrderedDict": (pickle, args) => {
    if (args.length > 0) throw pickle.refused("an OrderedDict that is not made empty");
    return new Map();
  },
  "torch._utils._rebuild_tensor_v2": (pickle, args) => rebuildTensor(pickle, args),
  "torch._utils._rebuild_parameter": (pickle, [tensor]) => {
    if (!(tensor instanceof PickledTensor)) throw pickle.refused("a parameter that is not a tensor");
    return tensor;
  },
};

const maxRank = 16;

function rebuildTensor(pickle: Unpickler, [storage, offset, shape, stride]: PickleValue[]): PickledTensor {
  if (!(storage instanceof PickledStorage)) throw pickle.refused("a tensor without a storage");
  if (!isSizes(shape) || !isSizes(stride) || shape.length !== stride.length || shape.length > maxRank) {
    throw pickle.refused("a tensor whose shape and strides are not two lists of whole numbers");
  }
  if (!isSize(offset)) throw pickle.refused("a tensor whose offset is not a whole number");
  const count = elementCount(shape);
  const last = offset + shape.reduce((sum, size, axis) => sum + (size - 1) * (stride[axis] as number), 0);
  // More elements than the storage has would be one element seen many times, as no weight is.
  if (count === null || count > storage.length || (count > 0 && !(last < storage.length))) {
    throw pickle.refused(`a tensor of shape [${shape.join(", ")}] that does not fit in its storage`);
  }
  return new PickledTensor(storage, offset, shape, stride);
}

function isSize(value: PickleValue | undefined): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isSizes(value: PickleValue | undefined): value is number[] {
  return Array.isArray(value) && value.every(isSize);
}

const mark = Symbol("mark");

/**
 * Reads the pickle (protocol 2) that begins at `start` as data: no class is imported and nothing is called but the few
 * constructors of a state dict, which are written out here.
 *
 * @throws CheckpointError for anything else, naming it.
 */
export function unpickle(path: string, bytes: Uint8Array, start = 0): { value: PickleValue; end: number } {
  return new Unpickler(path, bytes, start).run();
}

class Unpickler {
  readonly #path: string;
  readonly #bytes: Buffer;
  #position: number;
  readonly #stack: (PickleValue | typeof mark)[] = [];
  readonly #memo = new Map<number, PickleValue>();

  constructor(path: string, bytes: Uint8Array, start: number) {
    this.#path = path;
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#position = start;
  }

  run(): { value: PickleValue; end: number } {
    for (;;) {
      const opcode = this.#take(1)[0] as number;
      if (opcode === 0x2e) return { value: this.#pop(), end: this.#position }; // STOP
      this.#execute(opcode);
    }
  }

  #execute(opcode: number): void {
    switch (opcode) {
      case 0x80: {
        // PROTO
        const protocol = this.#take(1)[0] as number;
        if (protocol !== 2) throw this.refused(`pickle protocol ${protocol}; PyTorch writes protocol 2`);
        return;
      }
      case 0x4e: // NONE
        return this.#push(null);
      case 0x88: // NEWTRUE
        return this.#push(true);
      case 0x89: // NEWFALSE
        return this.#push(false);
      case 0x4a: // BININT
        return this.#push(this.#take(4).readInt32LE());
      case 0x4b: // BININT1
        return this.#push(this.#take(1).readUInt8());
      case 0x4d: // BININT2
        return this.#push(this.#take(2).readUInt16LE());
      case 0x8a: // LONG1
        return this.#push(this.#longInteger());
      case 0x47: // BINFLOAT
        return this.#push(this.#take(8).readDoubleBE());
      case 0x58: // BINUNICODE
        return this.#push(this.#take(this.#take(4).readUInt32LE()).toString("utf8"));
      case 0x55: // SHORT_BINSTRING
        return this.#push(this.#take(this.#take(1).readUInt8()).toString("latin1"));
      case 0x7d: // EMPTY_DICT
        return this.#push(new Map());
      case 0x5d: // EMPTY_LIST
      case 0x29: // EMPTY_TUPLE
        return this.#push([]);
      case 0x28: // MARK
        this.#stack.push(mark);
        return;
      case 0x74: // TUPLE
        return this.#push(this.#popToMark());
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        return this.#push(this.#popMany(opcode - 0x84));
      case 0x61: // APPEND
        return this.#append([this.#pop()]);
      case 0x65: // APPENDS
        return this.#append(this.#popToMark());
      case 0x73: // SETITEM
        return this.#setItems(this.#popMany(2));
      case 0x75: // SETITEMS
        return this.#setItems(this.#popToMark());
      case 0x71: // BINPUT
        return this.#remember(this.#take(1).readUInt8());
      case 0x72: // LONG_BINPUT
        return this.#remember(this.#take(4).readUInt32LE());
      case 0x68: // BINGET
        return this.#recall(this.#take(1).readUInt8());
      case 0x6a: // LONG_BINGET
        return this.#recall(this.#take(4).readUInt32LE());
      case 0x63: // GLOBAL
        return this.#push(this.#global());
      case 0x51: // BINPERSID
        return this.#push(this.#storage());
      case 0x52: // REDUCE
        return this.#push(this.#call());
      case 0x62: // BUILD
        return this.#build();
      default:
        throw this.refused(`the pickle opcode 0x${opcode.toString(16).padStart(2, "0")}`);
    }
  }

  /** What the file asks for is not what a file of weights needs. */
  refused(what: string): CheckpointError {
    return new CheckpointError(`${this.#path} holds ${what}: only a plain state dict of tensors is read.`, {
      hint: "Save the model's state_dict() with torch.save, or better, save it as model.safetensors.",
    });
  }

  #take(length: number): Buffer {
    const end = this.#position + length;
    if (end > this.#bytes.length) {
      throw new CheckpointError(`${this.#path} ends in the middle of its pickle.`, {
        hint: "Copy or download it again.",
      });
    }
    const taken = this.#bytes.subarray(this.#position, end);
    this.#position = end;
    return taken;
  }

  #line(): string {
    const length = this.#bytes.indexOf(0x0a, this.#position) - this.#position;
    if (length < 0 || length > 200) throw this.refused("a name without an end");
    return this.#take(length + 1).toString("utf8", 0, length);
  }

  #longInteger(): number {
    const digits = [...this.#take(this.#take(1).readUInt8())].reverse();
    const hex = digits.map((digit) => digit.toString(16).padStart(2, "0")).join("");
    const value = BigInt.asIntN(8 * digits.length, BigInt(`0x${hex || "0"}`));
    if (!Number.isSafeInteger(Number(value))) throw this.refused(`the number ${value}`);
    return Number(value);
  }

  #push(value: PickleValue): void {
    this.#stack.push(value);
  }

  #pop(): PickleValue {
    const value = this.#stack.pop();
    if (value === undefined || value === mark) throw this.refused("a pickle that takes from an empty stack");
    return value;
  }

  #popMany(count: number): PickleValue[] {
    return Array.from({ length: count }, () => this.#pop()).reverse();
  }

  #popToMark(): PickleValue[] {
    const at = this.#stack.lastIndexOf(mark);
    if (at < 0) throw this.refused("a pickle that misses a mark");
    const values = this.#stack.splice(at).slice(1);
    return values as PickleValue[];
  }

  #append(values: PickleValue[]): void {
    const list = this.#stack.at(-1);
    if (!Array.isArray(list)) throw this.refused("a pickle that appends to what is no list");
    for (const value of values) list.push(value);
  }

  #setItems(values: PickleValue[]): void {
    const dict = this.#stack.at(-1);
    if (!(dict instanceof Map)) throw this.refused("a pickle that sets items of what is no dict");
    for (let index = 0; index < values.length; index += 2) {
      const [key, value] = [values[index], values[index + 1]];
      if (value === undefined || key === undefined || (typeof key === "object" && key !== null)) {
        throw this.refused("a dict with a key that is neither text nor a number");
      }
      if (dict.has(key)) throw this.refused(`a dict with the key ${JSON.stringify(key)} twice`);
      dict.set(key, value);
    }
  }

  #remember(index: number): void {
    const value = this.#stack.at(-1);
    if (value === undefined || value === mark) throw this.refused("a pickle that remembers nothing");
    this.#memo.set(index, value);
  }

  #recall(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) throw this.refused("a pickle that recalls what it never remembered");
    this.#push(value);
  }

  #global(): Global {
    const module = this.#line();
    const name = `${module}.${this.#line()}`;
    if (Object.hasOwn(calls, name) || Object.hasOwn(storageDtypes, name)) return new Global(name);
    throw new CheckpointError(
      `${this.#path} refers to ${JSON.stringify(name)}, which is no part of a file of weights.`,
      {
        hint: "Nothing of it was run. Be careful with this file: loading it in Python would run code that it names.",
      },
    );
  }

  /** The persistent id ("storage", type, key, device, length), and in files before PyTorch 1.6 a view, here None. */
  #storage(): PickledStorage {
    const id = this.#pop();
    const [kind, type, key, , length, window = null] = Array.isArray(id) ? id : [];
    const dtype = type instanceof Global ? storageDtypes[type.name] : undefined;
    if (kind !== "storage" || dtype === undefined || typeof key !== "string" || !isSize(length) || window !== null) {
      throw this.refused("a reference to something that is not a storage of numbers");
    }
    return new PickledStorage(key, dtype, length);
  }

  #call(): PickleValue {
    const [callee, args] = this.#popMany(2);
    const call = callee instanceof Global && Object.hasOwn(calls, callee.name) ? calls[callee.name] : undefined;
    if (!call || !Array.isArray(args)) throw this.refused("a call of something that cannot be called");
    return call(this, args);
  }

  /** Sets attributes of an OrderedDict: the versions of the modules that PyTorch keeps there, of no use here. */
  #build(): void {
    this.#pop();
    if (!(this.#stack.at(-1) instanceof Map)) throw this.refused("an object with attributes");
  }
}
