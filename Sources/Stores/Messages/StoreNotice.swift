/// What a store's thread tells the operator; the process decides how it is logged.
public enum StoreNotice: Sendable {
    /// Something does not work, and somebody may have to act.
    case trouble(String)
    /// Something works again, or was put right.
    case relief(String)

    public var text: String {
        switch self {
        case .trouble(let text), .relief(let text): text
        }
    }
}
