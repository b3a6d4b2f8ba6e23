import Bytes

// RFC 9112 section 7.1.1:
//     chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
//
// Extensions are validated because an unchecked run of bytes before the CRLF is where requests have
// been hidden; none is known to this service, so they are then ignored.

extension HTTPChunkDecoder {
    mutating func readExtension(_ byte: UInt8) throws(HTTPError) {
        switch state {
        case .extName, .extNameRest, .extNameWhitespace: try readExtensionName(byte)
        default: try readExtensionValue(byte)
        }
    }

    private mutating func readExtensionName(_ byte: UInt8) throws(HTTPError) {
        switch state {
        case .extName:
            if HTTPByteClass.token.contains(byte) {
                state = .extNameRest
            } else if !HTTPByte.isWhitespace(byte) {
                throw byte == HTTPByte.lineFeed ? .bareLineFeed : .badChunkExtension
            }
        case .extNameRest:
            if HTTPByteClass.token.contains(byte) { return }
            if byte == HTTPByte.equals {
                state = .extValue
            } else if HTTPByte.isWhitespace(byte) {
                state = .extNameWhitespace
            } else {
                try endOfPart(byte, otherwise: .badChunkExtension)
            }
        default:
            if byte == HTTPByte.equals {
                state = .extValue
            } else if byte == HTTPByte.semicolon {
                state = .extName
            } else if !HTTPByte.isWhitespace(byte) {
                throw .badChunkExtension
            }
        }
    }

    /// chunk-ext-val = token / quoted-string
    private mutating func readExtensionValue(_ byte: UInt8) throws(HTTPError) {
        switch state {
        case .extValue:
            if byte == HTTPByte.quote {
                state = .extQuoted
            } else if HTTPByteClass.token.contains(byte) {
                state = .extToken
            } else if !HTTPByte.isWhitespace(byte) {
                throw byte == HTTPByte.lineFeed ? .bareLineFeed : .badChunkExtension
            }
        case .extQuoted:
            if byte == HTTPByte.quote {
                state = .extValueEnd
            } else if byte == HTTPByte.backslash {
                state = .extQuotedPair
            } else if !HTTPByte.isFieldContent(byte) {
                throw .badChunkExtension
            }
        case .extQuotedPair:
            guard HTTPByte.isFieldContent(byte) else { throw .badChunkExtension }
            state = .extQuoted
        case .extWhitespace:
            if byte == HTTPByte.semicolon {
                state = .extName
            } else if !HTTPByte.isWhitespace(byte) {
                throw .badChunkExtension
            }
        default:
            if state == .extToken, HTTPByteClass.token.contains(byte) { return }
            if HTTPByte.isWhitespace(byte) {
                state = .extWhitespace
            } else {
                try endOfPart(byte, otherwise: .badChunkExtension)
            }
        }
    }
}
