# The module's interface. Whatever can be wrong by itself is refused here, before anything is planned.

variable "name" {
  description = "What everything is called, or begins with: functions, roles, queues, alarms, the key's alias. Two deployments in one account and region need two names."
  type        = string
  default     = "imprint"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,19}$", var.name))
    error_message = "name must be 2 to 20 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "conjur" {
  description = "The Conjur that hosts are made at. `appliance_url` is where agents log in; `leader_url` where hosts are made, when that is another server; `ca_certificates` are the certificates, as PEM, that it may show, and no others (left out: the public roots)."
  type = object({
    account         = string
    appliance_url   = string
    leader_url      = optional(string)
    ca_certificates = optional(string)
  })

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]{1,64}$", var.conjur.account))
    error_message = "conjur.account may have only letters, digits and . _ -, at most 64 of them."
  }
  validation {
    condition     = alltrue([for url in compact([var.conjur.appliance_url, var.conjur.leader_url]) : can(regex("^(https://|http://(localhost|127\\.0\\.0\\.1)[:/])[A-Za-z0-9._:/\\[\\]~-]*[A-Za-z0-9._\\]~-]$", url))])
    error_message = "conjur.appliance_url and conjur.leader_url must be https addresses without / at the end."
  }
  validation {
    condition     = var.conjur.ca_certificates == null ? true : length(regexall("-----BEGIN CERTIFICATE-----", var.conjur.ca_certificates)) >= 1 && length(regexall("-----BEGIN CERTIFICATE-----", var.conjur.ca_certificates)) <= 16
    error_message = "conjur.ca_certificates must hold 1 to 16 certificates as PEM."
  }
  validation {
    condition     = var.conjur.ca_certificates == null ? true : length(regexall("PRIVATE KEY", var.conjur.ca_certificates)) == 0
    error_message = "conjur.ca_certificates must hold no private key."
  }
}

variable "login" {
  description = "How the functions log in to Conjur; no way puts a secret into Terraform. With `authn_iam`, the service id of Conjur's authn-iam, they show their AWS roles; without it, each has an API key that an operator has put into the bucket with `imprint-rotator seal-login`. `branch` is the policy branch of their hosts, `sts` the STS that Conjur shall ask (a region or `global`)."
  type = object({
    branch    = optional(string, "imprint")
    authn_iam = optional(string)
    sts       = optional(string)
  })
  default  = {}
  nullable = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$", var.login.branch))
    error_message = "login.branch must be a policy branch such as imprint, with letters, digits and . _ / -."
  }
  validation {
    condition     = var.login.authn_iam == null ? true : can(regex("^[A-Za-z0-9._-]{1,64}$", var.login.authn_iam))
    error_message = "login.authn_iam must be the service's id alone, such as prod."
  }
  validation {
    condition     = var.login.sts == null ? true : var.login.authn_iam != null && can(regex("^(global|[a-z]{2}(-[a-z]+)+-[0-9])$", var.login.sts))
    error_message = "login.sts must be a region or global, and goes with login.authn_iam."
  }
}

variable "layers" {
  description = "The layers, by names of their own for AWS. Each has the `host_factory` and the `hosts_branch` of its hosts at Conjur (`layer` if it is not called as the factory), and a role for its instances: one that is made, with an instance profile, or the `existing_role_arn`. `cidr`: the networks from which Conjur takes its tokens, as Conjur sees the instances (left out: anywhere). `scope`: `layer` for a token that all instances share, `instance` for one that only its own instance can open. `promotes_to`: the layer that its instances may be promoted to. `proof_variable`: a variable that a new host must be allowed to read. `pin`: tie hosts to their addresses. `mint = false`: tokens are minted elsewhere. `spread`: seconds over which a wave of boots spreads."
  type = map(object({
    host_factory      = string
    hosts_branch      = string
    layer             = optional(string)
    existing_role_arn = optional(string)
    cidr              = optional(list(string), [])
    scope             = optional(string, "layer")
    promotes_to       = optional(string)
    proof_variable    = optional(string)
    pin               = optional(bool, false)
    mint              = optional(bool, true)
    spread            = optional(number, 0)
  }))

  validation {
    condition     = length(var.layers) >= 1 && length(var.layers) <= 2500
    error_message = "layers must be 1 to 2500."
  }
  validation {
    condition     = alltrue([for name in keys(var.layers) : can(regex("^[a-z0-9][a-z0-9-]{0,36}$", name))])
    error_message = "The name of a layer must be 1 to 37 lower-case letters, digits and hyphens."
  }
  validation {
    condition     = alltrue([for layer in values(var.layers) : alltrue([for id in compact([layer.host_factory, layer.hosts_branch, layer.layer]) : can(regex("^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$", id)) && length(id) <= 256])])
    error_message = "host_factory, hosts_branch and layer of a layer must be ids without account and kind: letters, digits and . _ / -, at most 256."
  }
  validation {
    condition     = alltrue([for layer in values(var.layers) : layer.proof_variable == null ? true : can(regex("^[A-Za-z0-9 ._/-]{1,256}$", layer.proof_variable))])
    error_message = "proof_variable must be a variable's id without account and kind: letters, digits, blanks and . _ / -, at most 256."
  }
  validation {
    condition     = length(distinct([for layer in values(var.layers) : layer.host_factory])) == length(var.layers)
    error_message = "Two layers must not share a host_factory: either could take over the other's hosts."
  }
  validation {
    condition     = alltrue([for layer in values(var.layers) : layer.existing_role_arn == null ? true : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$", layer.existing_role_arn))])
    error_message = "existing_role_arn must be the ARN of a role, without * and ?."
  }
  validation {
    condition     = length(distinct([for layer in values(var.layers) : layer.existing_role_arn if layer.existing_role_arn != null])) == length([for layer in values(var.layers) : layer if layer.existing_role_arn != null])
    error_message = "Two layers must not share an existing role: it would open the tokens of both."
  }
  validation {
    condition     = length(join("", [for layer in values(var.layers) : layer.existing_role_arn if layer.existing_role_arn != null])) <= 12000
    error_message = "So many existing roles do not fit into the key's policy, which names each: let the module make the roles."
  }
  validation {
    condition     = alltrue(flatten([for layer in values(var.layers) : [for cidr in layer.cidr : can(cidrhost(cidr, 0)) && !endswith(cidr, "/0") && try(strcontains(cidr, ":") ? true : cidrhost(cidr, 0) == split("/", cidr)[0], false)]]))
    error_message = "cidr must hold networks without host bits, such as 10.0.0.0/16; for anywhere leave it out, rather than 0.0.0.0/0."
  }
  validation {
    condition     = alltrue([for layer in values(var.layers) : contains(["layer", "instance"], layer.scope)])
    error_message = "scope must be layer or instance."
  }
  validation {
    condition     = alltrue([for layer in values(var.layers) : layer.scope == "layer" || layer.mint])
    error_message = "A layer with scope = \"instance\" needs mint = true: tokens for single instances are minted here, or nowhere."
  }
  validation {
    condition     = alltrue([for name, layer in var.layers : layer.promotes_to == null ? true : contains(keys(var.layers), layer.promotes_to) && layer.promotes_to != name])
    error_message = "promotes_to must be the name of another of the layers."
  }
  validation {
    condition     = alltrue([for layer in values(var.layers) : layer.spread >= 0 && layer.spread <= 600 && floor(layer.spread) == layer.spread])
    error_message = "spread must be 0 to 600 whole seconds."
  }
}

variable "windows" {
  description = "The windows of a token's life, in minutes. A new token every `period`; `overlap` in which the old and the new one are good in any case; `boot_time` from an agent's fetch to its redeem; `slack` by which a new token may come late. A token lives their sum, or `lifetime`. The rotator runs every `schedule`, begun at any moment of `flexible`, for at most `longest_run`, which is the functions' time-out."
  type = object({
    period      = optional(number, 240)
    overlap     = optional(number, 60)
    boot_time   = optional(number, 30)
    slack       = optional(number, 150)
    schedule    = optional(number, 15)
    flexible    = optional(number, 3)
    longest_run = optional(number, 5)
    lifetime    = optional(number)
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for minutes in values(var.windows) : minutes == null ? true : minutes >= 0 && floor(minutes) == minutes])
    error_message = "windows must be whole minutes."
  }
  validation {
    condition     = var.windows.longest_run >= 2 && var.windows.longest_run <= 15
    error_message = "windows.longest_run must be 2 to 15: with less than 70 s left no factory is begun, and no function runs longer."
  }
  validation {
    condition     = var.windows.schedule >= 1 && var.windows.schedule <= 360 && var.windows.flexible < var.windows.schedule
    error_message = "windows.schedule must be 1 to 360, and windows.flexible shorter."
  }
  validation {
    condition     = var.windows.boot_time >= 1
    error_message = "windows.boot_time must be at least 1: an agent needs time between its fetch and its redeem."
  }
  validation {
    condition     = var.windows.period >= var.windows.schedule + var.windows.flexible
    error_message = "windows.period must be at least schedule + flexible: a token cannot be replaced more often than the rotator runs."
  }
  validation {
    condition     = var.windows.slack >= var.windows.schedule + var.windows.flexible + var.windows.longest_run + 1
    error_message = "windows.slack must be at least schedule + flexible + longest_run + 1: a token that falls due just after one run waits for the next one to end."
  }
  validation {
    condition     = var.windows.lifetime == null ? true : var.windows.lifetime >= var.windows.period + var.windows.overlap + var.windows.boot_time + var.windows.slack
    error_message = "windows.lifetime must be at least period + overlap + boot_time + slack, or an instance that boots just before a rotation holds a dead token."
  }
}

variable "deployment" {
  description = "Eight hex digits that tell this deployment's tokens from others' at the same Conjur. Left out, they follow from account, region and bucket."
  type        = string
  default     = null

  validation {
    condition     = var.deployment == null ? true : can(regex("^[0-9a-f]{8}$", var.deployment))
    error_message = "deployment must be eight lower-case hex digits."
  }
}

variable "revoke" {
  description = "Whether the rotator deletes expired tokens of its own at Conjur, and revokes what it could not publish, which needs the privilege `update` on the factories."
  type        = bool
  default     = true
  nullable    = false
}

variable "package" {
  description = "The functions' zip, with imprint-rotator as `bootstrap`: a `filename` on the machine that applies, or the object `s3_key` in `s3_bucket` (in the region of the functions; with its `sha256`, base64, a new object is seen). `architecture` is x86_64 or arm64. With `code_signing_config_arn`, Lambda takes signed packages alone."
  type = object({
    filename                = optional(string)
    s3_bucket               = optional(string)
    s3_key                  = optional(string)
    s3_object_version       = optional(string)
    sha256                  = optional(string)
    architecture            = optional(string, "x86_64")
    code_signing_config_arn = optional(string)
  })

  validation {
    condition     = (var.package.filename == null) != (var.package.s3_bucket == null || var.package.s3_key == null)
    error_message = "package needs either filename, or s3_bucket and s3_key."
  }
  validation {
    condition     = contains(["x86_64", "arm64"], var.package.architecture)
    error_message = "package.architecture must be x86_64 or arm64."
  }
}

variable "functions" {
  description = "How the functions run: `memory` in MB, `reserved_concurrency` of the rotator (null: none is taken from the account; two runs at once do no harm), and the `subnet_ids` and `security_group_ids` when they shall run inside a VPC, from where they must reach S3, KMS, EC2, STS and Conjur."
  type = object({
    memory               = optional(number, 256)
    reserved_concurrency = optional(number)
    subnet_ids           = optional(list(string), [])
    security_group_ids   = optional(list(string), [])
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.functions.memory >= 128 && var.functions.memory <= 10240
    error_message = "functions.memory must be 128 to 10240."
  }
  validation {
    condition     = var.functions.reserved_concurrency == null ? true : var.functions.reserved_concurrency >= 1
    error_message = "functions.reserved_concurrency must be at least 1: with 0 nothing would ever be rotated."
  }
  validation {
    condition     = (length(var.functions.subnet_ids) == 0) == (length(var.functions.security_group_ids) == 0)
    error_message = "functions.subnet_ids and functions.security_group_ids go together."
  }
}

variable "rules" {
  description = "The rules, as text of TOML, that say which instances may have what: who gets a token of its own, who is promoted, who is pinned (`imprint-rotator rules` checks them). Whoever can write them says who gets an identity. Left out, nobody may have anything by rules."
  type        = string
  default     = null

  validation {
    condition     = var.rules == null ? true : length(regexall("(?m)^\\s*\\[\\[rule\\]\\]", var.rules)) >= 1 && length(regexall("(?m)^\\s*\\[\\[rule\\]\\]", var.rules)) <= 500
    error_message = "rules must hold 1 to 500 sections [[rule]]."
  }
  validation {
    condition     = var.rules == null ? true : length(base64encode(var.rules)) <= 349528
    error_message = "rules may have 256 KiB."
  }
}

variable "minter" {
  description = "The function that mints tokens for single instances when EC2 tells of them, and promotes, as the `rules` say: whether there is one (only with rules), how many minutes such a token lives, from where Conjur takes it (`layer-cidr`, the layer's networks, or `private-ip`, the instance's own addresses, where Conjur sees them), whether a layer without networks may have some that are good from anywhere, every how many minutes it looks for who is to be promoted, and how many minutes after a promotion the old host stays."
  type = object({
    enabled     = optional(bool, true)
    life        = optional(number, 20)
    cidr        = optional(string, "layer-cidr")
    any_address = optional(bool, false)
    promote     = optional(number, 5)
    settle      = optional(number, 30)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.minter.life >= 6 && var.minter.life <= 60 && floor(var.minter.life) == var.minter.life
    error_message = "minter.life must be 6 to 60 whole minutes: half of it must outlast an event's way and an agent's poll."
  }
  validation {
    condition     = var.minter.enabled && var.rules != null ? true : alltrue([for layer in values(var.layers) : layer.scope == "layer"])
    error_message = "A layer with scope = \"instance\" needs the minter and rules, or nobody mints for its instances."
  }
  validation {
    condition     = alltrue([for layer in values(var.layers) : var.minter.life * 60 >= layer.spread * 2])
    error_message = "minter.life must be at least twice the longest spread of a layer."
  }
  validation {
    condition     = contains(["layer-cidr", "private-ip"], var.minter.cidr) && !(var.minter.cidr == "private-ip" && var.minter.any_address)
    error_message = "minter.cidr must be layer-cidr or private-ip, and any_address is for layer-cidr."
  }
  validation {
    condition     = var.minter.promote >= 1 && var.minter.promote <= 360 && floor(var.minter.promote) == var.minter.promote
    error_message = "minter.promote must be 1 to 360 whole minutes."
  }
  validation {
    condition     = var.minter.settle >= 15 && var.minter.settle <= 10080 && floor(var.minter.settle) == var.minter.settle
    error_message = "minter.settle must be 15 minutes to 7 days: an agent that has redeemed must have come to its end."
  }
}

variable "reaper" {
  description = "The function that removes the hosts of instances that are gone, and pins hosts: whether there is one, how many minutes two looks must lie apart that both miss an instance, the most hosts of one factory that one run removes, and every how many minutes it counts instances and hosts that lack each other, for the alarms (0: never)."
  type = object({
    enabled       = optional(bool, true)
    missing_for   = optional(number, 10)
    most_removals = optional(number, 50)
    counts_every  = optional(number, 15)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.reaper.missing_for >= 5 && var.reaper.missing_for <= 10080
    error_message = "reaper.missing_for must be 5 minutes to 7 days: EC2 takes minutes to tell everybody of an instance."
  }
  validation {
    condition     = var.reaper.most_removals >= 1 && var.reaper.most_removals <= 10000
    error_message = "reaper.most_removals must be 1 to 10000."
  }
  validation {
    condition     = (var.reaper.counts_every == 0 || var.reaper.counts_every >= 5) && var.reaper.counts_every <= 360 && floor(var.reaper.counts_every) == var.reaper.counts_every
    error_message = "reaper.counts_every must be 5 to 360 whole minutes, or 0."
  }
  validation {
    condition     = var.reaper.enabled ? true : alltrue([for layer in values(var.layers) : !layer.pin])
    error_message = "A layer with pin = true needs the reaper."
  }
}

variable "instances_from" {
  description = "From where instances may fetch and unseal: only through these `vpc_endpoint_ids` (of S3 and of KMS), and only with credentials that were given to an instance in one of these `vpc_ids`. Empty: from anywhere."
  type = object({
    vpc_endpoint_ids = optional(list(string), [])
    vpc_ids          = optional(list(string), [])
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for id in var.instances_from.vpc_endpoint_ids : can(regex("^vpce-[0-9a-f]+$", id))])
    error_message = "instances_from.vpc_endpoint_ids must be ids such as vpce-0123456789abcdef0."
  }
  validation {
    condition     = alltrue([for id in var.instances_from.vpc_ids : can(regex("^vpc-[0-9a-f]+$", id))])
    error_message = "instances_from.vpc_ids must be ids such as vpc-0123456789abcdef0."
  }
}

variable "administrator_arns" {
  description = "The roles and users who administer the key and write the rotator's configuration: whoever applies this module must be one of them. They can neither seal nor unseal."
  type        = list(string)

  validation {
    condition     = length(var.administrator_arns) >= 1 && length(var.administrator_arns) <= 20
    error_message = "administrator_arns must be 1 to 20: a key that nobody administers can never be changed."
  }
  validation {
    condition     = alltrue([for arn in var.administrator_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[A-Za-z0-9+=,.@_/-]+$", arn))])
    error_message = "administrator_arns must be ARNs of roles and users, without * and ?, and not the account's root."
  }
}

variable "operator_arns" {
  description = "The roles of people who may seal logins (`imprint-rotator seal-login`), publish tokens that were minted elsewhere or for one instance, and run the rotator's commands. Their own policies must allow it too."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(var.operator_arns) <= 20 && alltrue([for arn in var.operator_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[A-Za-z0-9+=,.@_/-]+$", arn))])
    error_message = "operator_arns must be at most 20 ARNs of roles and users, without * and ?."
  }
}

variable "role_path" {
  description = "The IAM path of all roles that the module makes. The key's policy trusts what lies below it: nobody else may make roles there."
  type        = string
  default     = "/imprint/"
  nullable    = false

  validation {
    condition     = can(regex("^/([A-Za-z0-9_-]+/)+$", var.role_path))
    error_message = "role_path must begin and end with /, and must not be / alone."
  }
}

variable "permissions_boundary_arn" {
  description = "A permissions boundary for all roles that the module makes."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null ? true : can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/[A-Za-z0-9+=,.@_/-]+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of a policy."
  }
}

variable "bucket" {
  description = "The bucket: its `name` (left out: the module's name with account and region), whether it may be destroyed with what is in it, how many days old versions are kept, and how many what is sealed for one instance."
  type = object({
    name          = optional(string)
    force_destroy = optional(bool, false)
    version_days  = optional(number, 7)
    instance_days = optional(number, 1)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.bucket.name == null ? true : can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket.name))
    error_message = "bucket.name must be 3 to 63 lower-case letters, digits and hyphens."
  }
  validation {
    condition     = alltrue([for days in [var.bucket.version_days, var.bucket.instance_days] : days >= 1 && floor(days) == days])
    error_message = "bucket.version_days and bucket.instance_days must be whole days."
  }
}

variable "key_deletion_days" {
  description = "How many days a key that is destroyed can be brought back."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.key_deletion_days >= 7 && var.key_deletion_days <= 30
    error_message = "key_deletion_days must be 7 to 30."
  }
}

variable "logs" {
  description = "The functions' logs: how many days they are kept, and the KMS key that encrypts them (left out: CloudWatch's own; no secret is logged)."
  type = object({
    retention_days = optional(number, 90)
    kms_key_arn    = optional(string)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.logs.kms_key_arn == null ? true : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.logs.kms_key_arn))
    error_message = "logs.kms_key_arn must be the ARN of a key; CloudWatch Logs takes no alias."
  }
  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.logs.retention_days)
    error_message = "logs.retention_days must be a number of days that CloudWatch Logs has: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, ..."
  }
}

variable "alarm_topic_arns" {
  description = "The SNS topics that alarms, and their ends, are sent to."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.alarm_topic_arns : can(regex("^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+$", arn))])
    error_message = "alarm_topic_arns must be ARNs of SNS topics."
  }
}

variable "runbook_url" {
  description = "Where the runbook lies whose sections the alarms name: this repository's docs/OPERATIONS.md, or your copy of it."
  type        = string
  default     = "docs/OPERATIONS.md"
  nullable    = false

  validation {
    condition     = can(regex("^[^\\s#]{1,512}$", var.runbook_url))
    error_message = "runbook_url must be an address or a path without # and blanks: the alarms add their sections to it."
  }
}

variable "tags" {
  description = "Tags of everything that takes tags."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name, value in var.tags : length(name) >= 1 && length(name) <= 128 && length(value) <= 256 && !startswith(lower(name), "aws:")])
    error_message = "tags must have names of 1 to 128 characters that do not begin with aws:, and values of at most 256."
  }
}
