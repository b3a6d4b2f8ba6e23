// Owner: one loop. The buffers that sockets gather split or compressed messages in, between uses.
// An idle socket holds none of them, so a few serve all the sockets of a loop, and a message that
// has to be gathered costs no allocation once the pool is warm.

import Bytes

public final class WebSocketAssemblyPool {
    private var writers: [ByteWriter] = []
    private var inflaters: [Inflater] = []
    private let buffersKeptMax: Int
    private let writerBytesKeptMax: Int

    /// Keeps at most `buffersKeptMax` buffers of each kind, and none larger than
    /// `writerBytesKeptMax`.
    public init(buffersKeptMax: Int = 16, writerBytesKeptMax: Int = 65_536) {
        self.buffersKeptMax = buffersKeptMax
        self.writerBytesKeptMax = writerBytesKeptMax
        writers.reserveCapacity(buffersKeptMax)
        inflaters.reserveCapacity(buffersKeptMax)
    }

    /// Buffers that wait to be used.
    public var writersKept: Int { writers.count }
    public var inflatersKept: Int { inflaters.count }

    /// An empty buffer, small until something is written: a peer that announces 16 MiB and sends
    /// one byte costs a kilobyte.
    public func takeWriter() -> ByteWriter {
        writers.popLast() ?? ByteWriter(capacity: Self.writerBytesMin)
    }

    /// Takes back what `WebSocketInbound.takeAssembled` gave out.
    public func giveBack(_ writer: ByteWriter) {
        guard writers.count < buffersKeptMax, writer.capacityBytes <= writerBytesKeptMax else {
            return
        }
        assert(!writers.contains { $0 === writer }, "a buffer is given back once")
        writer.removeAll()
        writers.append(writer)
    }

    /// For peers that keep no context; its window is the largest, so it reads any of theirs.
    func takeInflater() -> Inflater {
        inflaters.popLast() ?? Inflater(windowBits: 15, keepsContext: false)
    }

    /// Takes back an inflater whose message has ended well.
    func giveBack(_ inflater: Inflater) {
        precondition(!inflater.keepsContext, "a context belongs to one socket")
        if inflaters.count < buffersKeptMax { inflaters.append(inflater) }
    }

    private static let writerBytesMin = 1024
}
