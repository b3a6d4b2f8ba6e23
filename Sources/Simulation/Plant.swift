/// A bug that is put into a stand-in on purpose, so that a test can see that the checks find it.
public enum Plant: CaseIterable, Sendable {
    /// The store says that a unit is committed and keeps nothing of it.
    case losesUnits
    /// The store does not look whether a key is there already.
    case forgetsKeys
    /// The store's pages are not limited to who asks.
    case showsEverybody
    /// The store's pages show end users what is internal.
    case showsInternal
    /// The store's pages show what was deleted, and nothing that was edited.
    case showsRedacted
    /// The store says that cursors are committed and keeps nothing of them.
    case losesCursors
    /// The network loses a piece of what the server has sent.
    case losesBytes
    /// A core's bell is not heard now and then.
    case losesRings
}
