// The TLS handshakes of a core that have begun and not ended, oldest first. A handshake that is
// honest is over in a round trip or two; one that stalls becomes the oldest. So when there are too
// many, the oldest goes: that is the one which nobody misses.

import Bytes

/// Owner: one core.
struct HandshakeQueue {
    let handshakesMax: Int
    /// Handshakes in progress.
    private(set) var count = 0
    /// Those in progress and some that have ended, in the order in which they began.
    private var began: [Token] = []
    private var first = 0

    /// What is kept, of both kinds.
    var rememberedCount: Int { began.count }

    init(handshakesMax: Int) { self.handshakesMax = handshakesMax }

    /// True when there are more now than there may be.
    mutating func didBegin(_ token: Token) -> Bool {
        count += 1
        began.append(token)
        return count > handshakesMax
    }

    mutating func didEnd() {
        count -= 1
        assert(count >= 0, "a handshake ends once")
        if count == 0 {
            began.removeAll(keepingCapacity: true)
            first = 0
        }
    }

    /// The oldest in progress, which is for the caller to end.
    mutating func takeOldest(where isInProgress: (Token) -> Bool) -> Token? {
        while first < began.count {
            let token = began[first]
            first += 1
            if isInProgress(token) { return token }
        }
        return nil
    }

    /// What has ended is forgotten when it is more than what may be in progress.
    mutating func prune(where isInProgress: (Token) -> Bool) {
        guard began.count >= 2 * handshakesMax + 64 else { return }
        began = began[first...].filter(isInProgress)
        first = 0
    }
}
