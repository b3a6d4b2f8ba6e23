// Why something was refused or ended to protect everybody else: the `reason` label of
// `chat_shed_total`. docs/limits.md says what each bound is and what the client sees.

enum ShedReason: Int, CaseIterable {
    case connections = 0
    case addressConnections
    case idle
    case handshakes
    case slowHandshake
    case slowHead
    case slowBody
    case slowReader
    case headTooLarge
    case bodyTooLarge
    case bufferedRequests
    case bufferedAnswers
    case credentials
    case frames
    case fragments
    case frameTooLarge
    case inflatedTooLarge

    var name: String {
        switch self {
        case .connections: "connections"
        case .addressConnections: "address_connections"
        case .idle: "idle"
        case .handshakes: "handshakes"
        case .slowHandshake: "slow_handshake"
        case .slowHead: "slow_head"
        case .slowBody: "slow_body"
        case .slowReader: "slow_reader"
        case .headTooLarge: "head_too_large"
        case .bodyTooLarge: "body_too_large"
        case .bufferedRequests: "buffered_requests"
        case .bufferedAnswers: "buffered_answers"
        case .credentials: "credentials"
        case .frames: "frames"
        case .fragments: "fragments"
        case .frameTooLarge: "frame_too_large"
        case .inflatedTooLarge: "inflated_too_large"
        }
    }
}
