// What one socket has been shown of one conversation: frames come in order and without a gap, from
// wherever they began.

import ChatModel

struct Follower {
    /// The last entry that was shown; nil: the next may be any.
    var lastSeq: UInt64?
    /// The `after_seq` of a subscribe frame that has no answer yet.
    var asked: UInt64?
    /// Where the log ended when it was subscribed to: what is shown was read after that.
    var readSinceSeq: UInt64 = 0
    /// The client has said that it does not want it.
    var isMuted = false
    /// The client named it; an agent's socket is shown nothing else.
    var wasWanted = false

    /// nil when the frame may come now; otherwise what is wrong.
    /// `isNext` says whether the entry may come behind another.
    mutating func didShow(
        _ seq: UInt64, mayComeUnasked: Bool, isNext: (UInt64) -> Bool
    ) -> String? {
        if isMuted, asked == nil { return "seq \(seq) is shown after unsubscribed" }
        if let asked {
            // What was followed before may still come until the server takes up the subscription;
            // then the replay begins behind `asked`.
            if isNext(asked) || lastSeq.map(isNext) ?? mayComeUnasked {
                lastSeq = seq
                return nil
            }
            return "seq \(seq) is shown, after \(asked) was asked for and \(lastSeq ?? 0) shown"
        }
        if !mayComeUnasked, !wasWanted { return "seq \(seq) is shown to who did not ask" }
        if let lastSeq, !isNext(lastSeq) { return "seq \(seq) is shown behind \(lastSeq)" }
        lastSeq = seq
        return nil
    }

    /// `isReached` says whether nothing is left to be shown behind an entry.
    mutating func didSubscribe(through seq: UInt64, isReached: (UInt64) -> Bool) -> String? {
        guard let asked else { return "subscribed comes unasked" }
        guard isReached(asked) || lastSeq.map(isReached) ?? false else {
            return "subscribed says \(seq), shown were \(lastSeq ?? 0) and before \(asked)"
        }
        lastSeq = seq
        self.asked = nil
        isMuted = false
        return nil
    }

    mutating func didMeetGap(from: UInt64, to: UInt64) -> String? {
        guard let asked, from == asked + 1, to >= from else { return "a gap that is none" }
        self.asked = to
        lastSeq = to
        return nil
    }
}
