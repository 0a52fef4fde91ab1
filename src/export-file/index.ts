// The format of export files: pure, so that whoever writes one, reads one or looks at one has the same.

export {
  decodeFrame,
  digest,
  encodeFrame,
  FRAME_BYTES,
  type Frame,
  firstMark,
  Mark,
  NO_PAYLOAD,
  PAYLOAD_BYTES_MAX,
  TAIL_BYTES,
  tailOf,
} from './frame.ts';
export {
  type DiskState,
  decodeHeader,
  encodeHeader,
  Header,
  headerBytesAfter,
  PREAMBLE_BYTES,
  type SetState,
  type Shape,
} from './header.ts';
export { type ByteSource, type Checked, ExportReader, type TakeMemory } from './reader.ts';
export { SetRecord } from './set-record.ts';
export { ExportChain } from './writer.ts';
