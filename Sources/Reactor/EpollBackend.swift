// Owner: one loop thread. Epoll made to look like completions.
//
// - receive: edge-triggered, so that the kernel does not look at a connection again that was just
//   read. One read per edge and turn, into a buffer of the pool. A read that does not fill its
//   buffer has emptied the socket, and what comes later is another edge. Where that cannot be known
//   (a full buffer, no buffer, the peer's end behind its last bytes) the descriptor is unfinished
//   and read again in the next turn. No read has to run into EAGAIN.
// - accept, poll: level-triggered; what is left is reported again.
// - send: tried at once when submitted. Only a full socket arms EPOLLOUT; the vectors are kept
//   until then.
// - The event's 64 bits are descriptor and generation, so that an event for a reused descriptor is
//   known to
//   be stale.
// Budget per request: one epoll_wait shared by the turn, one recv, one send; no allocation.

import Bytes
import CLinux
import Glibc

@safe public struct EpollBackend: Backend, ~Copyable {
    public static var name: String { "epoll" }

    /// What is known of one descriptor; indexed by descriptor.
    private struct Interest {
        var token = Token.none
        var kind = OperationKind.receive
        /// Events that epoll knows of; 0 while the descriptor is not registered.
        var registered: UInt32 = 0
        var isRegistered = false
        var wanted: UInt32 = 0
    }

    private struct Unfinished {
        let descriptor: Int32
        let generation: UInt32
        /// The end of the stream, or an error, waits behind the bytes.
        let hasEnd: Bool
    }

    // Safety: events holds capacity rows, written by epoll_wait only; freed in deinit.
    private static var eventsMax: Int { 256 }
    private let epoll: Int32
    private let pool: ReceivePool
    private let events: UnsafeMutablePointer<cl_event>
    private var interests: [Interest] = []
    /// Sends that a full socket refused, by descriptor.
    private var blocked: [Int32: [iovec]] = unsafe [:]
    /// Descriptors to read from again without an edge.
    private var unfinished: [Unfinished] = []
    /// Events for a descriptor's earlier life.
    public private(set) var staleEventCount = 0

    private static var readable: UInt32 { 1 }
    private static var writable: UInt32 { 4 }
    private static var failed: UInt32 { 8 | 16 }
    /// The peer sends nothing more.
    private static var ended: UInt32 { 0x2000 }
    private static var edgeTriggered: UInt32 { 1 << 31 }

    /// Throws errno as a value when the kernel refuses an epoll instance.
    public init?(pool: ReceivePool) {
        let descriptor = cl_epoll_create()
        guard descriptor >= 0 else { return nil }
        epoll = descriptor
        self.pool = pool
        unsafe events = UnsafeMutablePointer<cl_event>.allocate(capacity: Self.eventsMax)
    }

    deinit {
        unsafe events.deallocate()
        _ = Glibc.close(epoll)
    }

    // MARK: Submitting

    public mutating func submit(_ queue: OperationQueue, into batch: CompletionBatch) {
        let count = queue.operations.count
        var i = 0
        while i < count {
            let operation = queue.operations[i]
            switch operation.kind {
            case .send: send(operation, queue, into: batch)
            case .receive, .accept, .poll:
                arm(operation)
            case .pauseReceive:
                want(operation.descriptor, remove: Self.readable)
            case .shutdown: _ = Glibc.shutdown(operation.descriptor, Int32(SHUT_WR))
            case .close: close(operation.descriptor)
            }
            i += 1
        }
        queue.removeAll()
    }

    /// Makes sure that the descriptor has an interest, under the operation's token.
    private mutating func adopt(_ operation: Operation) {
        let index = Int(operation.descriptor)
        if index >= interests.count {
            interests.append(
                contentsOf: repeatElement(Interest(), count: max(64, index + 1 - interests.count)))
        }
        if interests[index].token != operation.token {
            // Epoll still holds the old generation: no set of events may look registered.
            interests[index] = Interest(
                token: operation.token, registered: .max,
                isRegistered: interests[index].isRegistered)
        }
    }

    private mutating func arm(_ operation: Operation) {
        adopt(operation)
        let index = Int(operation.descriptor)
        interests[index].kind = operation.kind
        interests[index].wanted |= Self.readable
        apply(operation.descriptor)
    }

    private mutating func want(_ descriptor: Int32, remove: UInt32) {
        guard Int(descriptor) < interests.count else { return }
        interests[Int(descriptor)].wanted &= ~remove
        apply(descriptor)
    }

    /// Tells epoll what is wanted, if that has changed.
    private mutating func apply(_ descriptor: Int32) {
        let index = Int(descriptor)
        let interest = interests[index]
        let isReceiving = interest.kind == .receive && interest.wanted & Self.readable != 0
        let events = interest.wanted | (isReceiving ? Self.ended | Self.edgeTriggered : 0)
        if interest.isRegistered && interest.registered == events { return }
        // Taken out after a hangup, and still paused: it would only say so again.
        if !interest.isRegistered && interest.wanted == 0 { return }
        let data = UInt64(UInt32(bitPattern: descriptor)) | UInt64(interest.token.generation) << 32
        let operation: Int32 = interest.isRegistered ? 3 : 1
        let result = cl_epoll_control(epoll, operation, descriptor, events, data)
        precondition(
            result == 0, "epoll_ctl refused a descriptor that the loop owns: errno \(-result)")
        interests[index].isRegistered = true
        interests[index].registered = events
    }

    private mutating func send(
        _ operation: Operation, _ queue: OperationQueue, into batch: CompletionBatch
    ) {
        let start = Int(operation.vectorStart)
        let count = Int(operation.vectorCount)
        // Safety: the sender keeps the bytes that the vectors name until the completion.
        let sent = unsafe cl_send_vector(
            operation.descriptor, queue.vectors.address + start, Int32(count))
        if sent == -Int(EAGAIN) {
            unsafe blocked[operation.descriptor] = (start..<start + count).map {
                unsafe queue.vectors[$0]
            }
            adopt(operation)
            interests[Int(operation.descriptor)].wanted |= Self.writable
            apply(operation.descriptor)
            return
        }
        batch.append(
            Completion(token: operation.token, kind: .send, result: Int32(clamping: sent)))
    }

    private mutating func close(_ descriptor: Int32) {
        if Int(descriptor) < interests.count { interests[Int(descriptor)] = Interest() }
        if unsafe !blocked.isEmpty { unsafe blocked[descriptor] = nil }
        // Closing the last descriptor of a socket takes it out of epoll.
        _ = Glibc.close(descriptor)
    }

    // MARK: Reaping

    public mutating func wait(timeoutNanoseconds: UInt64, into batch: CompletionBatch) {
        let again = unfinished
        unfinished.removeAll(keepingCapacity: true)
        let timeout = again.isEmpty ? timeoutNanoseconds : 0
        let count = unsafe cl_epoll_wait(epoll, events, Int32(Self.eventsMax), timeout)
        if count < 0 {
            precondition(
                count == -EINTR, "epoll_wait failed on the loop's own descriptor: errno \(-count)")
        }
        var i = 0
        while i < Int(count) {
            // Safety: i is below the count that epoll_wait returned.
            let event = unsafe events[i]
            i += 1
            let descriptor = Int32(bitPattern: UInt32(truncatingIfNeeded: event.token))
            let generation = UInt32(truncatingIfNeeded: event.token >> 32)
            guard Int(descriptor) < interests.count, interests[Int(descriptor)].isRegistered,
                interests[Int(descriptor)].token.generation == generation
            else {
                staleEventCount += 1
                continue
            }
            if event.events & Self.writable != 0, !didBecomeWritable(descriptor, into: batch) {
                continue
            }
            if event.events & (Self.readable | Self.failed | Self.ended) != 0 {
                didBecomeReadable(descriptor, event.events, into: batch)
            }
        }
        for item in again { readOn(item, into: batch) }
    }

    /// Goes on with the send that a full socket refused. False when the descriptor has nothing more
    /// to say.
    private mutating func didBecomeWritable(
        _ descriptor: Int32, into batch: CompletionBatch
    ) -> Bool {
        guard let vectors = unsafe blocked[descriptor] else {
            want(descriptor, remove: Self.writable)
            return true
        }
        let sent = unsafe vectors.withUnsafeBufferPointer { vectors in
            // Safety: the sender keeps the bytes until the completion, which has not been given
            // yet.
            unsafe cl_send_vector(
                descriptor, vectors.baseAddress.unsafelyUnwrapped, Int32(vectors.count))
        }
        if sent == -Int(EAGAIN) { return true }
        unsafe blocked[descriptor] = nil
        want(descriptor, remove: Self.writable)
        batch.append(
            Completion(
                token: interests[Int(descriptor)].token, kind: .send, result: Int32(clamping: sent))
        )
        return true
    }

    private mutating func didBecomeReadable(
        _ descriptor: Int32, _ events: UInt32, into batch: CompletionBatch
    ) {
        let interest = interests[Int(descriptor)]
        switch interest.kind {
        case .accept: accept(descriptor, interest.token, into: batch)
        case .poll: batch.append(Completion(token: interest.token, kind: .poll, result: 1))
        default:
            if interest.wanted & Self.readable == 0 {
                // Paused, but the peer is gone: EPOLLHUP and EPOLLERR cannot be masked. Say so
                // once.
                _ = cl_epoll_control(epoll, 2, descriptor, 0, 0)
                interests[Int(descriptor)].isRegistered = false
                batch.append(
                    Completion(
                        token: interest.token, kind: .receive, buffer: .max, result: -ECONNRESET))
                return
            }
            let hasEnd = events & (Self.failed | Self.ended) != 0
            receive(descriptor, interest.token, hasEnd: hasEnd, into: batch)
        }
    }

    private mutating func readOn(_ item: Unfinished, into batch: CompletionBatch) {
        let interest = interests[Int(item.descriptor)]
        // Paused meanwhile: when it is armed again, epoll looks at it anew.
        guard interest.isRegistered, interest.token.generation == item.generation,
            interest.kind == .receive, interest.wanted & Self.readable != 0
        else { return }
        receive(item.descriptor, interest.token, hasEnd: item.hasEnd, into: batch)
    }

    private mutating func receive(
        _ descriptor: Int32, _ token: Token, hasEnd: Bool, into batch: CompletionBatch
    ) {
        let again = Unfinished(
            descriptor: descriptor, generation: token.generation, hasEnd: hasEnd)
        guard let buffer = pool.take() else { return unfinished.append(again) }
        let count = unsafe cl_receive(descriptor, pool.address(buffer), ReceivePool.bufferBytes)
        if count > 0 {
            if hasEnd || count == ReceivePool.bufferBytes { unfinished.append(again) }
            batch.append(
                Completion(token: token, kind: .receive, buffer: buffer, result: Int32(count)))
            return
        }
        pool.release(buffer)
        if count == -Int(EINTR) { return unfinished.append(again) }
        if count == -Int(EAGAIN) { return }
        batch.append(Completion(token: token, kind: .receive, buffer: .max, result: Int32(count)))
    }

    private mutating func accept(_ listener: Int32, _ token: Token, into batch: CompletionBatch) {
        for _ in 0..<64 {
            let descriptor = cl_accept(listener)
            if descriptor == -EAGAIN { return }
            if descriptor == -ECONNABORTED || descriptor == -EINTR { continue }
            batch.append(Completion(token: token, kind: .accept, result: descriptor))
            if descriptor < 0 {
                want(listener, remove: Self.readable)
                return
            }
        }
    }
}
