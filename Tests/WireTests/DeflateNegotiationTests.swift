import Bytes
import Testing

@testable import Wire

/// The response to `offer`; nil when nothing was agreed.
private func answer(_ offer: String, _ policy: DeflatePolicy = DeflatePolicy()) -> String? {
    let block = ByteBlock(offer)
    guard let agreed = DeflateParameters.negotiate(offer: block.bytes, policy: policy) else {
        return nil
    }
    let writer = ByteWriter()
    agreed.writeResponse(into: writer)
    return writer.string()
}

private let plain = "permessage-deflate"

@Suite struct DeflateNegotiationTests {
    @Test func acceptableOffersAreAnsweredWithTheirParameters() {
        let pairs: [(String, String)] = [
            ("", plain),
            ("; client_max_window_bits", plain),
            ("; client_no_context_takeover", "\(plain); client_no_context_takeover"),
            ("; server_no_context_takeover", "\(plain); server_no_context_takeover"),
            ("; server_max_window_bits=10", "\(plain); server_max_window_bits=10"),
            ("; server_max_window_bits=15", "\(plain); server_max_window_bits=15"),
            ("; server_max_window_bits=\"9\"", "\(plain); server_max_window_bits=9"),
            ("; server_max_window_bits=\"1\\2\"", "\(plain); server_max_window_bits=12"),
            ("; client_max_window_bits=8", "\(plain); client_max_window_bits=8"),
            ("; client_max_window_bits=\"15\"", "\(plain); client_max_window_bits=15"),
            (" ;\tclient_max_window_bits = 11 ", "\(plain); client_max_window_bits=11"),
            (
                ";client_max_window_bits=12;server_max_window_bits=11;"
                    + "client_no_context_takeover;server_no_context_takeover",
                "\(plain); server_no_context_takeover; client_no_context_takeover; "
                    + "server_max_window_bits=11; client_max_window_bits=12"
            ),
        ]
        for (parameters, response) in pairs {
            #expect(answer(plain + parameters) == response, "\(parameters)")
            #expect(answer("  , foo;x=\"a, \(plain)\",\t\(plain + parameters) ,") == response)
        }
    }

    @Test func malformedUnknownAndDoubledParametersDeclineTheirOfferOnly() {
        let bad = [
            "; server_max_window_bits=8", "; server_max_window_bits", "; server_max_window_bits=",
            "; server_max_window_bits=7", "; server_max_window_bits=16",
            "; server_max_window_bits=09", "; server_max_window_bits=0",
            "; server_max_window_bits=\"\"", "; server_max_window_bits=\"10",
            "; server_max_window_bits=10\"", "; server_max_window_bits=\"",
            "; server_max_window_bits=1 0",
            "; server_max_window_bits=+10", "; server_max_window_bits=1a",
            "; server_max_window_bits=100000000000000000000000", "; server_max_window_bits==10",
            "; server_max_window_bits='10'", "; client_max_window_bits=",
            "; client_max_window_bits=7",
            "; client_max_window_bits=16", "; client_max_window_bits=08",
            "; client_max_window_bits=-9", "; client_max_window_bits=x",
            "; server_no_context_takeover=1", "; server_no_context_takeover=",
            "; client_no_context_takeover=true", "; client_no_context_takeover=\"\"",
            "; unknown", "; unknown=1", "; mode=\"a\"", ";", "; ;", "; =10", "; client_no_context",
            "; client_no_context_takeover; client_no_context_takeover",
            "; server_no_context_takeover; server_no_context_takeover",
            "; server_max_window_bits=10; server_max_window_bits=10",
            "; client_max_window_bits; client_max_window_bits",
            "; client_max_window_bits; client_max_window_bits=10",
            "; client_max_window_bits=10; client_max_window_bits", "; client_max_window_bits;",
            " server_no_context_takeover", "=1", "x", "; Server_No_Context_Takeover",
        ]
        for parameters in bad {
            #expect(answer(plain + parameters) == nil, "\(parameters)")
            // An unfinished string runs to the end of the header.
            if parameters.count(where: { $0 == "\"" }).isMultiple(of: 2) {
                #expect(answer("\(plain)\(parameters), \(plain)") == plain, "\(parameters)")
            }
        }
    }

    @Test func otherExtensionsAndNothingAreDeclined() {
        for offer in [
            "", " ", ",", ",,", "x-webkit-deflate-frame", "permessage-deflat",
            "permessage-deflatee",
            "permessage-bzip2; client_max_window_bits", "foo=\"permessage-deflate\"",
            "foo=\", permessage-deflate", "foo=\"\\\", permessage-deflate",
            "\"permessage-deflate\"",
            "foo; permessage-deflate",
        ] {
            #expect(answer(offer) == nil, "\(offer)")
        }
    }

    @Test func theFirstAcceptableOfferWins() {
        #expect(
            answer(
                "\(plain); server_max_window_bits=8, \(plain); server_max_window_bits=9, \(plain)")
                == "\(plain); server_max_window_bits=9")
        #expect(answer("\(plain), \(plain); server_no_context_takeover") == plain)
    }

    @Test func thePolicyAsksForLessThanTheOfferAllows() {
        let policy = DeflatePolicy(
            serverNoContextTakeover: true, clientNoContextTakeover: true, serverMaxWindowBits: 12,
            clientMaxWindowBits: 11)
        let both = "\(plain); server_no_context_takeover; client_no_context_takeover"
        #expect(answer(plain, policy) == "\(both); server_max_window_bits=12")
        #expect(
            answer("\(plain); client_max_window_bits", policy)
                == "\(both); server_max_window_bits=12; client_max_window_bits=11")
        #expect(
            answer("\(plain); client_max_window_bits=15; server_max_window_bits=15", policy)
                == "\(both); server_max_window_bits=12; client_max_window_bits=11")
        #expect(
            answer("\(plain); client_max_window_bits=9; server_max_window_bits=10", policy)
                == "\(both); server_max_window_bits=10; client_max_window_bits=9")
    }

    @Test func windowsThatAreNotNamedHave15Bits() {
        #expect(DeflateParameters().serverWindowBits == 15)
        #expect(DeflateParameters().clientWindowBits == 15)
        let named = DeflateParameters(serverMaxWindowBits: 10, clientMaxWindowBits: 9)
        #expect(named.serverWindowBits == 10 && named.clientWindowBits == 9)
    }

    @Test func randomOffersNeverTrap() {
        var random = Seeded(5)
        let pieces = [
            plain, plain, ";", ";", ",", "=", "\"", "\\", " ", "client_max_window_bits",
            "server_max_window_bits", "server_no_context_takeover", "10", "9", "15", "x", "\t",
            "\u{0}",
        ]
        var agreements = 0
        for _ in 0..<20_000 {
            let offer = (0..<random.below(9)).map { _ in pieces[random.below(pieces.count)] }
            if answer(offer.joined()) != nil { agreements += 1 }
        }
        #expect(agreements > 100 && agreements < 19_000)
    }
}
