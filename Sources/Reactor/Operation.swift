// What a loop asks of its backend, and what comes back. Completion-shaped: an operation is
// submitted, its completion is reaped later in a batch. io_uring is this by nature; epoll emulates
// it.

import Bytes
import Glibc

public enum OperationKind: UInt8, Sendable, BitwiseCopyable {
    /// Accept connections until told otherwise; one completion each, `result` is the new
    /// descriptor. A negative result disarms it: submit it again to go on.
    case accept
    /// Receive into lent buffers until paused; one completion each, `result` bytes in `buffer`.
    /// 0 is the end of the stream, negative an errno; after either, pause or close.
    case receive
    /// No further `receive` completions (those already reaped still come).
    case pauseReceive
    /// One gathered send; one completion with the bytes that were taken (perhaps fewer), or an
    /// errno. At most one is in flight per descriptor. The bytes stay put until its completion.
    case send
    /// Say when a foreign descriptor becomes readable, each time.
    case poll
    /// Nothing more will be sent: the peer reads to the end of the stream. No completion.
    case shutdown
    /// Forget the descriptor and close it. No completion; those of earlier operations may still
    /// come, and their token's generation tells that they are stale.
    case close
}

public struct Operation: BitwiseCopyable {
    public var kind: OperationKind
    public var descriptor: Int32
    public var token: Token
    /// For `send`: which of the queue's vectors.
    public var vectorStart: Int32
    public var vectorCount: Int32
}

/// Owner: one loop. The operations of one turn, and the vectors of its sends.
@safe public final class OperationQueue {
    // Safety: the vectors point at bytes that their sender keeps until the completion.
    public let operations = FlatArray<Operation>(capacity: 1024)
    let vectors: FlatArray<iovec>

    public init() { unsafe vectors = FlatArray(capacity: 4096) }

    public var isEmpty: Bool { operations.isEmpty }

    public func add(_ kind: OperationKind, descriptor: Int32, token: Token) {
        operations.append(
            Operation(
                kind: kind, descriptor: descriptor, token: token, vectorStart: 0, vectorCount: 0))
    }

    package func removeAll() {
        operations.removeAll()
        unsafe vectors.removeAll()
    }
}

/// The outcome of one operation.
public struct Completion: BitwiseCopyable, Sendable {
    public var token: Token
    public var kind: OperationKind
    /// The lent buffer that holds the received bytes; give it back with `ReceivePool.release`.
    public var buffer: UInt16
    /// Bytes or a descriptor; negative: -errno.
    public var result: Int32

    public init(token: Token, kind: OperationKind, buffer: UInt16 = 0, result: Int32) {
        self.token = token
        self.kind = kind
        self.buffer = buffer
        self.result = result
    }
}

/// Owner: one loop. Completions reaped together; they are run after they have all been collected,
/// so that running one never recurses into reaping the next.
public final class CompletionBatch {
    public let completions: FlatArray<Completion>
    public let capacity: Int

    public init(capacity: Int = 512) {
        self.capacity = capacity
        completions = FlatArray(capacity: capacity)
    }

    public var isFull: Bool { completions.count >= capacity }
    public func append(_ completion: Completion) { completions.append(completion) }
    public func removeAll() { completions.removeAll() }
}

/// Owner: one loop. The buffers that are lent to the kernel for receiving. A connection that waits
/// for bytes holds none; a buffer is taken when bytes are there and given back when they have been
/// parsed or copied.
@safe public final class ReceivePool {
    // Safety: memory holds count * strideBytes bytes; a buffer index is on the free list or lent,
    // never both.
    public static let bufferBytes = 16_384
    static let strideBytes = bufferBytes + ByteBlock.paddingBytes
    private let memory: UnsafeMutableRawPointer
    private let free: FlatArray<UInt16>
    public let count: Int

    public init(count: Int = 256) {
        self.count = count
        unsafe memory = UnsafeMutableRawPointer.allocate(
            byteCount: count * Self.strideBytes, alignment: 64)
        free = FlatArray(capacity: count)
        for index in (0..<UInt16(count)).reversed() { free.append(index) }
    }

    deinit { unsafe memory.deallocate() }

    public var isEmpty: Bool { free.isEmpty }

    func take() -> UInt16? { free.popLast() }

    /// A buffer with a copy of these bytes, for a backend without a kernel; nil when all are lent.
    package func lend(_ bytes: RawSpan) -> UInt16? {
        precondition(bytes.byteCount <= Self.bufferBytes, "more bytes than a buffer holds")
        guard let buffer = take() else { return nil }
        unsafe bytes.withUnsafeBytes { source in
            // Safety: the buffer holds bufferBytes, and nobody else has it.
            unsafe address(buffer).copyMemory(
                from: source.baseAddress.unsafelyUnwrapped, byteCount: source.count)
        }
        return buffer
    }

    /// How many buffers are lent.
    package var lentCount: Int { count - free.count }

    public func release(_ buffer: UInt16) {
        assert(!free.contains(buffer), "a buffer is given back once")
        free.append(buffer)
    }

    func address(_ buffer: UInt16) -> UnsafeMutableRawPointer {
        unsafe memory + Int(buffer) * Self.strideBytes
    }

    /// The first `count` bytes of a lent buffer, writable (frames are unmasked in place).
    @_lifetime(borrow self) public func bytes(_ buffer: UInt16, count: Int) -> MutableRawSpan {
        precondition(count >= 0 && count <= Self.bufferBytes, "more bytes than a buffer holds")
        // Safety: the kernel has written count bytes into this buffer, which is lent until
        // released.
        let span = unsafe MutableRawSpan(_unsafeStart: address(buffer), byteCount: count)
        return unsafe _overrideLifetime(span, borrowing: self)
    }
}
