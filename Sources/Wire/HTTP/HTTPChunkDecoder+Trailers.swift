import Bytes

// trailer-section = *( field-line CRLF ), then CRLF  (RFC 9112 section 7.1.2)

extension HTTPChunkDecoder {
    mutating func readTrailer(_ byte: UInt8) throws(HTTPError) {
        guard lineBytes < UInt16(Self.trailerBytesMax) else { throw .trailersTooLarge }
        lineBytes &+= 1
        switch state {
        case .trailerStart: try readTrailerStart(byte)
        case .trailerName: try readTrailerName(byte)
        case .trailerValue:
            if byte == HTTPByte.carriageReturn {
                state = .trailerLineFeed
            } else if byte == HTTPByte.lineFeed {
                throw .bareLineFeed
            } else if !HTTPByte.isFieldContent(byte) {
                throw .badTrailer
            }
        default:
            guard byte == HTTPByte.lineFeed else { throw .bareCarriageReturn }
            state = state == .finalLineFeed ? .ended : .trailerStart
        }
    }

    private mutating func readTrailerStart(_ byte: UInt8) throws(HTTPError) {
        switch byte {
        case HTTPByte.carriageReturn: state = .finalLineFeed
        case HTTPByte.lineFeed: throw .bareLineFeed
        case HTTPByte.space, HTTPByte.tab: throw .obsoleteFolding
        default:
            guard HTTPByteClass.token.contains(byte) else { throw .badTrailer }
            trailerNameBytes = 0
            appendToTrailerName(byte)
            state = .trailerName
        }
    }

    private mutating func readTrailerName(_ byte: UInt8) throws(HTTPError) {
        if HTTPByteClass.token.contains(byte) { return appendToTrailerName(byte) }
        switch byte {
        case HTTPByte.colon:
            guard !isForbiddenTrailer() else { throw .forbiddenTrailer }
            state = .trailerValue
        case HTTPByte.space, HTTPByte.tab: throw .whitespaceBeforeColon
        case HTTPByte.lineFeed: throw .bareLineFeed
        default: throw .badTrailer
        }
    }

    private mutating func appendToTrailerName(_ byte: UInt8) {
        // A name that does not fit keeps counting and so equals none of the forbidden ones.
        if Int(trailerNameBytes) < Self.trailerNameBytesMax {
            trailerName[Int(trailerNameBytes)] = RawSpan.lowercased(byte)
        }
        trailerNameBytes &+= 1
    }

    /// Fields of framing, routing, access, content format and request modifiers
    /// (RFC 9110 section 6.5.1). A proxy that merges trailers into the head would let them through.
    private func isForbiddenTrailer() -> Bool {
        let count = Int(trailerNameBytes)
        guard count <= Self.trailerNameBytesMax else { return false }
        return switch count {
        case 2: isTrailer("te")
        case 4: isTrailer("host")
        case 5: isTrailer("range")
        case 6: isTrailer("expect") || isTrailer("cookie") || isTrailer("origin")
        case 7: isTrailer("trailer") || isTrailer("upgrade")
        case 9: isTrailer("forwarded") || isTrailer("x-api-key")
        case 10: isTrailer("connection") || isTrailer("set-cookie") || isTrailer("keep-alive")
        case 11: isTrailer("x-tenant-id")
        case 12: isTrailer("content-type") || isTrailer("max-forwards")
        case 13: isTrailer("authorization") || isTrailer("cache-control")
        case 14: isTrailer("content-length")
        case 15: isTrailer("idempotency-key") || isTrailer("x-forwarded-for")
        case 16: isTrailer("content-encoding")
        case 17: isTrailer("transfer-encoding")
        case 19: isTrailer("proxy-authorization")
        default: false
        }
    }

    private func isTrailer(_ lowercase: StaticString) -> Bool {
        trailerName.holds(lowercase, inFirst: Int(trailerNameBytes))
    }
}
