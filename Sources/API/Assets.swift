import Bytes

/// Files that are part of the program.
public enum Assets {
    public static let indexPage = ByteBlock(PackageResources.index_html)
    public static let openAPI = ByteBlock(PackageResources.openapi_yaml)

    /// The page is one file with its script and style inside; it loads nothing and talks to its own
    /// origin.
    public static let pagePolicy = ByteBlock(
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; "
            + "img-src 'self' https: data:; media-src https:; base-uri 'none'; form-action 'none'; "
            + "frame-ancestors 'self'")
}
