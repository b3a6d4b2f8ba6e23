// permessage-deflate: `Inflater` over any bytes, in pieces and whole, never past its limit; and
// what `Deflater` makes is inflated to what it was.

import Bytes
import Wire

func fuzzDeflate(_ bytes: [UInt8]) {
    var input = FuzzInput(bytes)
    let windowBits = UInt8(9 + input.choice(of: 7))
    let keepsContext = input.choice(of: 2) == 1
    let limitBytes = [0, 1, 100, 20_000][input.choice(of: 4)]
    let level = Int32(1 + input.choice(of: 9))
    let cuts = input.cuts()
    let stream = input.rest()
    inflateAnything(stream, cuts, windowBits, keepsContext: keepsContext, limitBytes: limitBytes)
    roundTrip(stream, cuts, windowBits, keepsContext: keepsContext, level: level)
    let block = ByteBlock(stream)
    if let agreed = DeflateParameters.negotiate(offer: block.bytes, policy: DeflatePolicy()) {
        let writer = ByteWriter(capacity: 128)
        agreed.writeResponse(into: writer)
        expect((9...15).contains(agreed.serverWindowBits), "a server's window has no such size")
        expect((8...15).contains(agreed.clientWindowBits), "a client's window has no such size")
    }
}

private func inflateAnything(
    _ stream: [UInt8], _ cuts: [Int], _ windowBits: UInt8, keepsContext: Bool, limitBytes: Int
) {
    let whole = Inflater(windowBits: windowBits, keepsContext: keepsContext)
    let cut = Inflater(windowBits: windowBits, keepsContext: keepsContext)
    // Twice: the second message may refer to the first.
    for _ in 0..<2 {
        let (output, fault) = inflated([stream[...]], whole, limitBytes)
        let (other, otherFault) = inflated(stream.pieces(cuts), cut, limitBytes)
        expect(output.count <= limitBytes, "more was inflated than the limit")
        expect(other.count <= limitBytes, "more was inflated than the limit")
        expectEqual(fault, otherFault, "cuts change whether a message inflates")
        if fault != nil { return }
        expectEqual(output, other, "cuts change what a message inflates to")
    }
}

private func inflated(
    _ pieces: [ArraySlice<UInt8>], _ inflater: Inflater, _ limitBytes: Int
) -> ([UInt8], WebSocketError?) {
    let writer = ByteWriter(capacity: 16)
    do throws(WebSocketError) {
        for piece in pieces {
            let block = ByteBlock(Array(piece))
            try inflater.inflate(
                block.bytes, into: writer, limitBytes: limitBytes, endOfMessage: false)
        }
        try inflater.inflate(RawSpan(), into: writer, limitBytes: limitBytes, endOfMessage: true)
        return (writer.bytes.array(), nil)
    } catch {
        return (writer.bytes.array(), error)
    }
}

/// Each piece as a message of its own.
private func roundTrip(
    _ stream: [UInt8], _ cuts: [Int], _ windowBits: UInt8, keepsContext: Bool, level: Int32
) {
    let deflater = Deflater(windowBits: windowBits, level: level)
    let inflater = Inflater(windowBits: windowBits, keepsContext: keepsContext)
    for piece in stream.pieces(cuts) {
        let message = ByteBlock(Array(piece))
        let compressed = ByteWriter(capacity: 64)
        deflater.compress(message.bytes, into: compressed, keepContext: keepsContext)
        let wire = compressed.bytes.array()
        expect(
            wire.count <= piece.count + piece.count >> 3 + 64,
            "compression makes a message longer than a socket takes")
        let (output, fault) = inflated(wire.pieces(cuts), inflater, piece.count)
        expect(fault == nil, "what was deflated does not inflate")
        expect(output == Array(piece), "a message inflates to another")
    }
}
