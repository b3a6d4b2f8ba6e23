// Which of many states may go when there are too many: a clock's hand goes round, and what was used
// since it last came by is spared once (second chance, the clock algorithm).

/// What the hand finds under a key.
enum SecondChanceVerdict {
    /// Was used, or is in use: the hand goes on.
    case spared
    /// Is gone, now or since earlier.
    case gone
}

/// The keys of a cache in the order of a clock. The states are the owner's.
struct SecondChance<Key> {
    /// Steps of the hand for one new key, so that no insertion takes long.
    static var stepsMax: Int { 16 }

    let keysMax: Int
    private var keys: [Key] = []
    private var hand = 0

    init(keysMax: Int) { self.keysMax = keysMax }

    mutating func insert(_ key: Key) { keys.append(key) }

    /// The key under the hand if one should go; nil when there are not too many.
    var candidate: Key? {
        guard keys.count > keysMax else { return nil }
        return keys[hand < keys.count ? hand : 0]
    }

    /// What became of the candidate.
    mutating func settle(_ verdict: SecondChanceVerdict) {
        if hand >= keys.count { hand = 0 }
        switch verdict {
        case .spared: hand += 1
        case .gone:
            keys.swapAt(hand, keys.count - 1)
            keys.removeLast()
        }
    }
}
