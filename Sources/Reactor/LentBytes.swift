// The bytes of a send that a backend outside this module (the simulated one) has not taken yet.

import Glibc

/// What an operation's vectors name. The sender keeps the bytes until the completion, so they are
/// read when they are taken, and not before: who frees them too early is found out.
@safe package struct LentBytes {
    // Safety: the vectors name bytes that their sender keeps until the send's completion, or until
    // it closes the descriptor.
    private let vectors: [iovec]
    package let count: Int

    init(_ vectors: [iovec]) {
        unsafe self.vectors = vectors
        count = unsafe vectors.reduce(0) { unsafe $0 + $1.iov_len }
    }

    /// A copy of the first `wanted` bytes, of `count` there are.
    package func prefix(_ wanted: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(wanted)
        var index = 0
        while bytes.count < wanted {
            let vector = unsafe vectors[index]
            index += 1
            let part = unsafe UnsafeRawBufferPointer(
                start: vector.iov_base, count: vector.iov_len)
            // Safety: at most iov_len bytes of the vector are read.
            unsafe bytes.append(contentsOf: part.prefix(wanted - bytes.count))
        }
        return bytes
    }
}

extension OperationQueue {
    package func lentBytes(_ operation: Operation) -> LentBytes {
        let start = Int(operation.vectorStart)
        let end = start + Int(operation.vectorCount)
        return unsafe LentBytes((start..<end).map { unsafe vectors[$0] })
    }
}
