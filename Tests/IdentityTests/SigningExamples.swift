// Keys and tokens made by PyJWT 2 with the claims sub=ann, tenant_id=acme, exp=2000, and the
// examples of RFC 7515 appendices A.2 and A.3.

struct SigningExample: Sendable {
    let name: String
    let pem: String
    /// Named "k-1", as in the header of `token`.
    let jwk: String
    let token: String
    let tokenWithoutName: String
}

let signingExamples = [
    SigningExample(
        name: "RS256",
        pem: """
            -----BEGIN PUBLIC KEY-----
            MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAw/f5hDSvkbBBCVWqi3og
            QnckYYLkbsVwGneggPJ3yIWUiHcjyCKdJXBjOPkFgVF3BkPZguTAm+1+P1FnR6Tk
            a7acsWOPfv+7Z4Xx2zkjON3P4zG+uv7Ru+UJdeCyw556Lb2/L/t7aambGj6sT9cI
            ZnTuEka4sNTRETDvMLQJA9e6pEi/jjOtycEH4Gx7CKNqPfi6zIgNMyWVyFEMQeYz
            t95KPMMbYmfr2bLsKLaOyTK5lh3jHHXWdlOUFqfbDALRFIe+ZX1pHNHFLBD4WrhY
            Bf8VnUD2eklIeYIT31GnqcXkrc0H81puVmOagfq3vEu0Xu6PAzSkge8sB4gVlmZT
            gQIDAQAB
            -----END PUBLIC KEY-----
            """,
        jwk: #"{"kty": "RSA", "n": "w_f5hDSvkbBBCVWqi3ogQnckYYLkbsVwGneggPJ3yIWUiHcjyCKdJXBjO"#
            + #"PkFgVF3BkPZguTAm-1-P1FnR6Tka7acsWOPfv-7Z4Xx2zkjON3P4zG-uv7Ru-UJdeCyw556Lb2_L_t"#
            + #"7aambGj6sT9cIZnTuEka4sNTRETDvMLQJA9e6pEi_jjOtycEH4Gx7CKNqPfi6zIgNMyWVyFEMQeYzt"#
            + #"95KPMMbYmfr2bLsKLaOyTK5lh3jHHXWdlOUFqfbDALRFIe-ZX1pHNHFLBD4WrhYBf8VnUD2eklIeYI"#
            + #"T31GnqcXkrc0H81puVmOagfq3vEu0Xu6PAzSkge8sB4gVlmZTgQ", "e": "AQAB", "kid": "k-1"#
            + #""}"#,
        token: #"eyJhbGciOiJSUzI1NiIsImtpZCI6ImstMSIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJ0ZW5hb"#
            + #"nRfaWQiOiJhY21lIiwiZXhwIjoyMDAwfQ.oGXnk7wpMhmPrxsWrsIFoBxtdj6rxvE49mEjJeTv9Qmj"#
            + #"hxDkpj7JHpUJSHAHQr5kNIn9ClX5OMw7NzOPm0h6P-S3jB9o5RjPEwQQDsVVQkS5yyACKOQluDNase"#
            + #"fvZyqgx9lqXgGKvuAjgU8oRrXiDVnzq-rDLlliuYodw7aBdECdgXfHJSF4VGG3dwGFWY85XFABNv__"#
            + #"RvoIqy6QXP_mjNBxKRS5Mnykb6-DUdONbbvPf-C8Ktooh2Yys533cXsnRbaLayHqbdCSEih48IVTrY"#
            + #"sUalN4akJzB6EtVmkq9DTfIIDW5JlrHxGZNzufBatDY4WyJVwN5TcM4nxAhpyDFw"#,
        tokenWithoutName:
            #"eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJ0ZW5hbnRfaWQiOiJhY21lI"#
            + #"iwiZXhwIjoyMDAwfQ.jax1N5p-w33dpAqllyE0m2SKkrjKemAfk5ACTGrTz-LDOAqFaHUNdQ5ORPpy"#
            + #"0ZfDxctvLdyeFKytJSh7olBUwV7DsaFA0t9dyhXTA_SW6FN8KvdYrjrxOPUsb6n5pw9zO68aIlE-iR"#
            + #"WvA_SyOydbtJivPpFyMYnio9uHiZGHE8SjZoa7kBB8nVlXWyPecWeZ1dzk463HdXZdSwri5_qMR4PS"#
            + #"5afEDRUb3dX1dIOBA1yg8-N1Hw1wQv2EteM6xRy4NUaho_T_jbZKD-MrMktXtvgEV96a9eRDc-2dvG"#
            + #"HKoE-PSPsu4rws1lxaCHLNyi4TN6waEp-eh4xBieFMrdHh_A"#),
    SigningExample(
        name: "ES256",
        pem: """
            -----BEGIN PUBLIC KEY-----
            MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEnIpDeYPukpbkpQQQOIBlSW2fAut1
            XjUgnszIBheed8XmG8U6X5d+3BbK1fyuOsXH2Aks943PBOw249mse8/bYw==
            -----END PUBLIC KEY-----
            """,
        jwk: #"{"kty": "EC", "crv": "P-256", "x": "nIpDeYPukpbkpQQQOIBlSW2fAut1XjUgnszIBheed8"#
            + #"U", "y": "5hvFOl-XftwWytX8rjrFx9gJLPeNzwTsNuPZrHvP22M", "kid": "k-1"}"#,
        token: #"eyJhbGciOiJFUzI1NiIsImtpZCI6ImstMSIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJ0ZW5hb"#
            + #"nRfaWQiOiJhY21lIiwiZXhwIjoyMDAwfQ.kipiJQpcUWvT0wx7nVSHo3fmJT4NTML8oIckP0-KK4JQ"#
            + #"5zykXMnc15G_vmd5VSo9GS0XLXk1rgjlgHvOOUaoeA"#,
        tokenWithoutName:
            #"eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJ0ZW5hbnRfaWQiOiJhY21lI"#
            + #"iwiZXhwIjoyMDAwfQ.SDDYfsU1J37N8zJI1in-CyvfkpzWyBws0VAsxdjHwyYb4y3qkw4tSVIAKxwo"#
            + #"5emVIYqmTJ7QImsN9PlihIdAWQ"#),
    SigningExample(
        name: "EdDSA",
        pem: """
            -----BEGIN PUBLIC KEY-----
            MCowBQYDK2VwAyEA1qxp7Cn9uZ/g9IzaFwdQqCTJdGtdw17dJXK9eReVgUE=
            -----END PUBLIC KEY-----
            """,
        jwk: #"{"x": "1qxp7Cn9uZ_g9IzaFwdQqCTJdGtdw17dJXK9eReVgUE", "kty": "OKP", "crv": "Ed2"#
            + #"5519", "kid": "k-1"}"#,
        token: #"eyJhbGciOiJFZERTQSIsImtpZCI6ImstMSIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJ0ZW5hb"#
            + #"nRfaWQiOiJhY21lIiwiZXhwIjoyMDAwfQ.r7JT4q78HlBlci4gy-QTEFfMJh3A8tMEWbaqVDLHiOM4"#
            + #"kQG6Dhdv7gnSR_op-ClO2V83aVcD3FHy3A4bSNemCQ"#,
        tokenWithoutName:
            #"eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJ0ZW5hbnRfaWQiOiJhY21lI"#
            + #"iwiZXhwIjoyMDAwfQ.xQbIuiSj5cpA0H162ROCYQUH2JVuuu52hA1-V6IjPmhCrkV3s2zYxAI-Sk7n"#
            + #"F4CuJfzZJA_XsAigxw7npfVaAQ"#),
]

let weakKey = """
    -----BEGIN PUBLIC KEY-----
    MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCfNusDEI9UKGlWwynaODxEc5aH
    5ICy+/7kaqtdL7qxrrD39c9fT0Z8SuOHLNgRLIJlvTgMus6mz/K2tEnZgcBDIK1H
    CSo3h1ZWbcTF+7TgWCkXR7nkADXul2ZNXuz3StcETzBfIvn0OFZTRdpI5iJa2rHq
    1TBfIqhHyorKviObDwIDAQAB
    -----END PUBLIC KEY-----
    """

let unknownKey = """
    -----BEGIN PUBLIC KEY-----
    MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEtPwT/h5k+hE3xmd5alKgWBZsAOZrxOTs
    nuD0EOAAv62VCXJ1oE/OXuOcE8+2qxKk5YXFMTIMo4Ybx9/Q3VzusH5WzocONa5a
    daCRzLT8m1DbzWCto5/XtPrYErExJkP/
    -----END PUBLIC KEY-----
    """

/// Key and token; the token lacks our claims and expires at 1300819380.
let rfcExamples = [
    (
        #"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHm"#
            + #"fHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r"#
            + #"2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2"#
            + #"R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco"#
            + #"9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#,
        #"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6L"#
            + #"y9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9"#
            + #"g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcA"#
            + #"cQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0Gar"#
            + #"ZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9"#
            + #"QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"#
    ),
    (
        #"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y"#
            + #"":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
        #"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6L"#
            + #"y9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4Gawxae"#
            + #"pmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"#
    ),
]
