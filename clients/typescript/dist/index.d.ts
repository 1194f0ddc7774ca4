//#region src/openapi.d.ts
interface components {
  schemas: {
    /**
    * About
    * @description The service's name and version, and the paths of its documentation and checks.
    */
    About: {
      /** Name */name: string; /** Version */
      version: string; /** Docs */
      docs: string; /** Openapi */
      openapi: string; /** Health */
      health: string; /** Ready */
      ready: string;
    };
    /**
    * AgentRequest
    * @description A request to the agent.
    * @example {
    *       "input": "Why is the sky blue?"
    *     }
    * @example {
    *       "input": "And in Bergen?",
    *       "instructions": "Answer in one sentence.",
    *       "max_steps": 5,
    *       "mcp_servers": [
    *         "joerup/open-meteo-mcp"
    *       ],
    *       "messages": [
    *         {
    *           "content": "Will it rain in Oslo tomorrow?",
    *           "role": "user"
    *         },
    *         {
    *           "content": "No, it will be dry.",
    *           "role": "assistant"
    *         }
    *       ],
    *       "model": "openai/gpt-4.1",
    *       "temperature": 0.2
    *     }
    * @example {
    *       "input": [
    *         {
    *           "text": "What is in this picture?",
    *           "type": "text"
    *         },
    *         {
    *           "type": "image",
    *           "url": "https://www.python.org/static/img/python-logo.png"
    *         }
    *       ],
    *       "max_tokens": 200,
    *       "metadata": {
    *         "user": "u_1"
    *       },
    *       "model": "anthropic/claude-sonnet-4-5-20250929",
    *       "on_disconnect": "continue"
    *     }
    * @example {
    *       "input": "And what did I ask before?",
    *       "session_id": "chat-1"
    *     }
    */
    AgentRequest: {
      /**
      * Temperature
      * @description The sampling temperature.
      */
      temperature?: number;
      /**
      * Top P
      * @description Nucleus sampling: the probability mass considered.
      */
      top_p?: number;
      /**
      * Top K
      * @description The number of most likely tokens to sample from.
      */
      top_k?: number;
      /**
      * Frequency Penalty
      * @description Makes tokens less likely the more often they have occurred.
      */
      frequency_penalty?: number;
      /**
      * Presence Penalty
      * @description Makes tokens that have already occurred less likely.
      */
      presence_penalty?: number;
      /**
      * Max Tokens
      * @description The maximum number of output tokens in each model turn.
      */
      max_tokens?: number;
      /**
      * Reasoning Effort
      * @description How much a reasoning model thinks.
      * @enum {string}
      */
      reasoning_effort?: "none" | "minimal" | "low" | "medium" | "high" | "xhigh";
      /**
      * Thinking Budget
      * @description The maximum number of thinking tokens in each turn, below `max_tokens`, or `adaptive` to let the model decide. Not together with `reasoning_effort`.
      */
      thinking_budget?: number | "adaptive";
      /**
      * Verbosity
      * @description How long the answer is.
      * @enum {string}
      */
      verbosity?: "low" | "medium" | "high";
      /**
      * Service Tier
      * @description The processing tier, such as `auto`, `flex` or `priority`.
      */
      service_tier?: string;
      /**
      * Prompt Cache Retention
      * @description How long OpenAI keeps the beginning of a prompt in its cache: `in_memory` (minutes) or `24h`. The default is PROMPT_CACHE_RETENTION.
      * @enum {string}
      */
      prompt_cache_retention?: "in_memory" | "24h";
      /**
      * Stop
      * @description One or more sequences at which the model stops.
      */
      stop?: string | string[];
      /**
      * Seed
      * @description A seed for sampling, if the model server supports one.
      */
      seed?: number;
      /**
      * Response Format
      * @description Passed to the model server unchanged, such as `{"type": "json_object"}`.
      */
      response_format?: {
        [key: string]: components["schemas"]["JsonValue"];
      };
      /**
      * Output Schema
      * @description A JSON Schema that the final answer has to match. The answer is checked, and the model is asked again if it doesn't match. `final_output.data` has its value. References must point inside the schema. Not together with `response_format`.
      */
      output_schema?: {
        [key: string]: components["schemas"]["JsonValue"];
      };
      /**
      * Tool Choice
      * @description Whether the model calls tools: `auto`, `none`, `required`, or the name of one as `{"name": "get_weather"}`. A call is forced in the first step only.
      */
      tool_choice?: ("auto" | "none" | "required") | components["schemas"]["NamedTool"];
      /**
      * Parallel Tool Calls
      * @description Whether the model may call several tools at once.
      */
      parallel_tool_calls?: boolean;
      /**
      * Web Search
      * @description Lets the model server search the web: `true`, or options.
      */
      web_search?: boolean | components["schemas"]["WebSearch"];
      /**
      * Max Turns
      * @description The maximum number of turns in which the model server calls hosted MCP servers by itself, within one step. The default is the number of steps left.
      */
      max_turns?: number;
      /**
      * Provider Options
      * @description Further parameters, sent unchanged. PROVIDER_OPTIONS names those that are allowed.
      */
      provider_options?: {
        [key: string]: components["schemas"]["JsonValue"];
      };
      /**
      * Input
      * @description The question: text, or a list of parts: text, image, file (PDF, text) and audio.
      */
      input: string | (components["schemas"]["TextPart"] | components["schemas"]["ImagePart"] | components["schemas"]["FilePart"] | components["schemas"]["AudioPart"])[];
      /**
      * Model
      * @description The model, as `provider/model`. See GET /api/agent/models. The default is DEFAULT_MODEL.
      */
      model?: string;
      /**
      * Fallback Models
      * @description Models that answer, in order, in place of one that fails. The default is FALLBACK_MODELS.
      */
      fallback_models?: string[];
      /**
      * Tools
      * @description Python tools that the model may call. See GET /api/agent/tools. The default is TOOLS_BY_DEFAULT.
      */
      tools?: string[];
      /**
      * Client Tools
      * @description Tools that the client runs. The run waits for their results.
      */
      client_tools?: components["schemas"]["ClientTool"][];
      /**
      * Mcp Servers
      * @description MCP servers whose tools the model may call: `owner/name`, `owner/name@version`, an https URL, or a name in MCP_SERVERS. See GET /api/agent/mcp-servers. With `"run": "local"` this service calls the server itself, even if the model server could.
      */
      mcp_servers?: (string | components["schemas"]["McpServerRef"])[];
      /**
      * Require Approval
      * @description Tools of this request whose calls need a person's approval, in addition to those that always do. See POST /api/agent/runs/{run_id}/approvals/{tool_call_id}.
      */
      require_approval?: string[];
      /**
      * Instructions
      * @description The system prompt.
      */
      instructions?: string;
      /**
      * Messages
      * @description The conversation before `input`, if the client stores it.
      */
      messages?: components["schemas"]["Message"][];
      /**
      * Max Steps
      * @description The maximum number of model turns. The default is MAX_STEPS.
      */
      max_steps?: number;
      /**
      * Max Cost Usd
      * @description The US dollars that the run may spend. Once too little is left, it waits for a decision: see POST /api/agent/runs/{run_id}/budget. The model needs a known price. MAX_COST_USD is the upper bound.
      */
      max_cost_usd?: number;
      /**
      * Max Total Tokens
      * @description The tokens that all steps of the run may take together, input and output. Once too few are left, it waits for a decision, as with `max_cost_usd`. MAX_TOTAL_TOKENS is the upper bound.
      */
      max_total_tokens?: number;
      /**
      * Metadata
      * @description Stored with the run and returned by GET /api/agent/runs/{run_id}. Not sent to the model.
      */
      metadata?: {
        [key: string]: string;
      };
      /**
      * On Disconnect
      * @description What happens to a run that has had no reader for DISCONNECT_GRACE_S seconds: `cancel` it, or `continue`. For POST /api/agent/runs, the default is `continue`.
      * @default cancel
      * @enum {string}
      */
      on_disconnect?: "cancel" | "continue";
      /**
      * Session Id
      * @description The session to continue. A new id creates one. Its history is sent to the model.
      */
      session_id?: string;
      /**
      * Parent Run Id
      * @description With `session_id`: an earlier run to branch from, instead of following the latest.
      */
      parent_run_id?: string;
      /**
      * Parent State
      * @description Start after the parent run, or `before` it, for example to ask its question again.
      * @default after
      * @enum {string}
      */
      parent_state?: "before" | "after";
      /**
      * Multitask
      * @description What to do if another run of the session has not ended: `reject` this request with 409, `enqueue` it, or `interrupt` that run. By default, a run without a reader is interrupted, and any other is a 409.
      * @enum {string}
      */
      multitask?: "reject" | "enqueue" | "interrupt";
    };
    /**
    * AgentResponse
    * @description A run as one JSON response, with the same content as its stream.
    *
    *     A run with the status `waiting` has its events so far, and its tool calls in `pending` have no result yet.
    *     `sources` are the web pages that the answer cites. `warnings` report what was left out or lost. `model` is the one
    *     that was asked for, and `answered_by` the one that answered in the latest step. With an `output_schema`, `data`
    *     is the value of `output`, and `attempts` is the number of answers until it matched.
    */
    AgentResponse: {
      /** Run Id */run_id: string; /** Session Id */
      session_id?: string; /** Status */
      status: ("succeeded" | "failed" | "cancelled") | "waiting"; /** Output */
      output: string;
      /**
      * Data
      * @description Any JSON value.
      */
      data?: unknown; /** Attempts */
      attempts?: number; /** Thinking */
      thinking: string; /** Tool Calls */
      tool_calls: components["schemas"]["ToolCall"][]; /** Pending */
      pending?: (components["schemas"]["PendingCall"] | components["schemas"]["PendingBudget"])[]; /** Sources */
      sources?: components["schemas"]["Source"][]; /** Warnings */
      warnings?: components["schemas"]["RunWarning"][];
      usage: components["schemas"]["Usage"]; /** Model */
      model: string; /** Answered By */
      answered_by?: string; /** Finish Reason */
      finish_reason?: string; /** Steps */
      steps: number; /** Duration Ms */
      duration_ms: number;
    };
    /**
    * ApiKey
    * @description An API key, without the key itself, which is shown once. The key begins with `key_id`.
    *
    *     Times are UTC, RFC 3339. `last_used_at` can be a minute late.
    */
    ApiKey: {
      /** Key Id */key_id: string; /** Owner */
      owner: string; /** Name */
      name?: string; /** Scopes */
      scopes: components["schemas"]["Scope"][]; /** Models */
      models?: string[]; /** Created At */
      created_at: string; /** Expires At */
      expires_at?: string; /** Last Used At */
      last_used_at?: string; /** Revoked At */
      revoked_at?: string;
    };
    /**
    * ApiKeyList
    * @description API keys, the latest first. Send `next_cursor` as `cursor` for the next page, if there is one.
    */
    ApiKeyList: {
      /** Keys */keys: components["schemas"]["ApiKey"][]; /** Next Cursor */
      next_cursor?: string;
    };
    /**
    * ApprovalDecision
    * @description A person's decision on an `approval_request`.
    * @example {
    *       "approved": true
    *     }
    * @example {
    *       "approved": false,
    *       "reason": "Not on a Friday."
    *     }
    */
    ApprovalDecision: {
      /**
      * Approved
      * @description Whether the call is made.
      */
      approved: boolean;
      /**
      * Arguments
      * @description With approval: arguments that replace those of the model.
      */
      arguments?: {
        [key: string]: components["schemas"]["JsonValue"];
      };
      /**
      * Reason
      * @description With a refusal: the reason, which is sent to the model.
      */
      reason?: string;
    };
    /**
    * ApprovalResponse
    * @description The decision on a call. `arguments` are present if the person changed them, and are used for the call.
    */
    ApprovalResponse: {
      /** Tool Call Id */tool_call_id: string; /** Approved */
      approved: boolean; /** Arguments */
      arguments?: {
        [key: string]: unknown;
      }; /** Reason */
      reason?: string;
    };
    /**
    * AudioPart
    * @description Recorded sound, as a data URL in base64.
    */
    AudioPart: {
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      type: "audio";
      /**
      * Url
      * Format: uri
      * @description A data URL in base64, such as `data:audio/wav;base64,…`.
      */
      url: string;
    };
    /**
    * BudgetDecision
    * @description A person's decision on a budget that is spent: new totals with which the run resumes, or a refusal that ends it.
    *
    *     A total that is left out stays as it is.
    * @example {
    *       "max_cost_usd": 0.5
    *     }
    * @example {
    *       "max_total_tokens": 50000
    *     }
    * @example {
    *       "approved": false
    *     }
    */
    BudgetDecision: {
      /**
      * Approved
      * @description Whether the run resumes.
      * @default true
      */
      approved?: boolean;
      /**
      * Max Cost Usd
      * @description The new total in US dollars, above what is spent.
      */
      max_cost_usd?: number;
      /**
      * Max Total Tokens
      * @description The new total of tokens, above what is spent.
      */
      max_total_tokens?: number;
    };
    /**
    * CalledFunction
    * @description The function that a call names, with its arguments as JSON text.
    */
    CalledFunction: {
      /**
      * Name
      * @description The name of the tool.
      */
      name: string;
      /**
      * Arguments
      * @description The arguments, as the text of a JSON object.
      * @default {}
      */
      arguments?: string;
    };
    /**
    * CallerInfo
    * @description The caller of a request, and what it may do. `admin` is the admin that acts for the owner.
    */
    CallerInfo: {
      /** Owner */owner: string; /** Scopes */
      scopes: components["schemas"]["Scope"][]; /** Models */
      models?: string[]; /** Key Id */
      key_id?: string; /** Admin */
      admin?: string;
    };
    /**
    * ClientTool
    * @description A tool that the client runs. The run waits for its result at POST /api/agent/runs/{run_id}/tool-results.
    */
    ClientTool: {
      /**
      * Name
      * @description The name by which the model calls the tool.
      */
      name: string;
      /**
      * Description
      * @description What the tool does, for the model.
      * @default
      */
      description?: string;
      /**
      * Parameters
      * @description The JSON schema of the arguments, whose type is object.
      * @default {
      *       "type": "object",
      *       "properties": {}
      *     }
      */
      parameters?: {
        [key: string]: components["schemas"]["JsonValue"];
      };
    };
    /**
    * ClientToolResult
    * @description The result of a client tool's call. The model gets text unchanged, and any other value as JSON.
    */
    ClientToolResult: {
      /**
      * Tool Call Id
      * @description The id of the call, as in its `tool_use` event.
      */
      tool_call_id: string; /** @description What the tool returned, or what went wrong. */
      content: components["schemas"]["JsonValue"];
      /**
      * Is Error
      * @description Whether the tool failed.
      * @default false
      */
      is_error?: boolean;
    };
    /**
    * ClientToolResults
    * @description Results of client tools. All of them are recorded, or none.
    * @example {
    *       "results": [
    *         {
    *           "content": {
    *             "lat": 59.9,
    *             "lon": 10.7
    *           },
    *           "tool_call_id": "call_1"
    *         }
    *       ]
    *     }
    */
    ClientToolResults: {
      /**
      * Results
      * @description A result for each call, in any order.
      */
      results: components["schemas"]["ClientToolResult"][];
    };
    /**
    * ErrorBody
    * @description The body of every error response that is JSON.
    */
    ErrorBody: {
      error: components["schemas"]["ErrorInfo"];
    };
    /**
    * ErrorInfo
    * @description The error. `request_id` is also in the X-Request-ID header and in the service's log.
    *
    *     `run_id` is the run that failed or that conflicts with the request. `retry_after` is also in the Retry-After header.
    */
    ErrorInfo: {
      /** Code */code: string; /** Message */
      message: string; /** Retryable */
      retryable: boolean; /** Request Id */
      request_id: string; /** Retry After */
      retry_after?: number; /** Run Id */
      run_id?: string; /** Details */
      details?: components["schemas"]["FieldError"][];
    };
    /**
    * FieldError
    * @description One validation error: `loc` is the field's path, `message` says how to correct it.
    */
    FieldError: {
      /** Loc */loc: string; /** Message */
      message: string;
    };
    /**
    * FilePart
    * @description A PDF or a text: a data URL, or an https URL that the model server fetches.
    */
    FilePart: {
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      type: "file";
      /**
      * Url
      * Format: uri
      * @description An https URL, or a data URL in base64.
      */
      url: string;
      /**
      * Name
      * @description The name of the file.
      */
      name?: string;
    };
    /**
    * FunctionCall
    * @description A tool call of the model. Calls recorded by an earlier version have no `source` and no `server`.
    *
    *     `arguments` are the model's. `approval_response` is a person's decision on the call, as in the event. If it has
    *     `arguments`, the call was made with these.
    */
    FunctionCall: {
      /** Tool Call Id */tool_call_id: string; /** Name */
      name: string; /** Arguments */
      arguments: {
        [key: string]: unknown;
      };
      /**
      * Source
      * @enum {string}
      */
      source?: "python" | "mcp" | "hosted" | "client"; /** Server */
      server?: string;
      approval_response?: components["schemas"]["ApprovalResponse"]; /** Result */
      result?: string; /** Is Error */
      is_error?: boolean;
    };
    /**
    * Health
    * @description The process is alive.
    */
    Health: {
      /** Status */status: string;
    };
    /**
    * ImagePart
    * @description An image: an https URL that the model server fetches, or a data URL.
    */
    ImagePart: {
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      type: "image";
      /**
      * Url
      * Format: uri
      * @description An https URL, or a data URL in base64.
      */
      url: string;
      /**
      * Detail
      * @description The resolution at which the model looks at the image, if the model server has a choice.
      * @enum {string}
      */
      detail?: "auto" | "low" | "high";
    };
    JsonValue: unknown;
    /**
    * KeyCreate
    * @description An API key to create.
    * @example {
    *       "name": "Ada's laptop",
    *       "owner": "ada"
    *     }
    * @example {
    *       "owner": "ops",
    *       "scopes": [
    *         "admin"
    *       ]
    *     }
    */
    KeyCreate: {
      /**
      * Owner
      * @description The owner of the key, and of the runs and sessions that it starts.
      */
      owner: string;
      /**
      * Name
      * @description A note, to tell the keys of an owner apart.
      */
      name?: string;
      /**
      * Scopes
      * @description The rights of the key. By default it may start and read runs.
      * @default [
      *       "runs:write",
      *       "runs:read"
      *     ]
      */
      scopes?: components["schemas"]["Scope"][];
      /**
      * Models
      * @description The models that it may use, such as openai/*. Without it, all.
      */
      models?: string[];
      /**
      * Expires At
      * Format: date-time
      * @description When the key ends. Without it, never.
      */
      expires_at?: string;
    };
    /**
    * KeyRotation
    * @description How an API key is replaced. With an overlap, programs can be changed to the new key one by one.
    */
    KeyRotation: {
      /**
      * Overlap S
      * @description How long the old key stays valid.
      * @default 0
      */
      overlap_s?: number;
      /**
      * Expires At
      * Format: date-time
      * @description When the new key ends. Without it, as the old one.
      */
      expires_at?: string;
    };
    /**
    * LongInputPrices
    * @description The prices of all tokens of a request that has more than `above_input_tokens` tokens of input.
    */
    LongInputPrices: {
      /** Input Per Million */input_per_million: number; /** Output Per Million */
      output_per_million: number; /** Cached Input Per Million */
      cached_input_per_million?: number; /** Cache Write Per Million */
      cache_write_per_million?: number; /** Reasoning Per Million */
      reasoning_per_million?: number; /** Above Input Tokens */
      above_input_tokens: number;
    };
    /**
    * McpServerInfo
    * @description An MCP server. `server` is the value to put into a request's `mcp_servers`.
    */
    McpServerInfo: {
      /** Server */server: string; /** Name */
      name: string; /** Description */
      description?: string; /** Tool Count */
      tool_count?: number; /** Needs Authorization */
      needs_authorization?: boolean; /** Configured */
      configured: boolean;
    };
    /**
    * McpServerList
    * @description The MCP servers on offer, the configured ones first. `source` is the source of the others.
    */
    McpServerList: {
      /**
      * Source
      * @enum {string}
      */
      source: "upstream" | "stale" | "builtin"; /** Servers */
      servers: components["schemas"]["McpServerInfo"][];
    };
    /**
    * McpServerRef
    * @description An MCP server that this service calls itself: a name in MCP_SERVERS, or a URL.
    * @example {
    *       "name": "docs",
    *       "run": "local"
    *     }
    * @example {
    *       "run": "local",
    *       "url": "https://mcp.example.com/mcp"
    *     }
    */
    McpServerRef: {
      /**
      * Name
      * @description The server's name in MCP_SERVERS.
      */
      name?: string;
      /**
      * Url
      * Format: uri
      * @description The server's URL, in place of a name.
      */
      url?: string;
      /**
      * Run
      * @description Where the calls are made: by this service.
      * @constant
      */
      run: "local";
    };
    /**
    * McpToolList
    * @description The tools of an MCP server, under the names that the model sees.
    */
    McpToolList: {
      /** Tools */tools: components["schemas"]["ToolInfo"][];
    };
    /**
    * Message
    * @description A message of a conversation that the client stores itself.
    *
    *     The answer of an assistant can have `tool_calls`, and a message with the role `tool` is the result of one of them.
    */
    Message: {
      /**
      * Role
      * @description The author.
      * @enum {string}
      */
      role: "system" | "developer" | "user" | "assistant" | "tool";
      /**
      * Name
      * @description The author's name, if several have this role.
      */
      name?: string;
      /**
      * Tool Calls
      * @description With the role `assistant`: the calls that the model made.
      */
      tool_calls?: components["schemas"]["MessageCall"][];
      /**
      * Tool Call Id
      * @description With the role `tool`: the id of the call. The default is the next call.
      */
      tool_call_id?: string;
      /**
      * Content
      * @description Text, or a list of parts as in `input`.
      */
      content?: string | (components["schemas"]["TextPart"] | components["schemas"]["ImagePart"] | components["schemas"]["FilePart"] | components["schemas"]["AudioPart"])[];
    };
    /**
    * MessageCall
    * @description A tool call of the model. A call without an id gets one.
    */
    MessageCall: {
      /**
      * Id
      * @description The id of the call, which its result repeats.
      */
      id?: string;
      /**
      * Type
      * @default function
      * @constant
      */
      type?: "function"; /** @description The tool and its arguments. */
      function: components["schemas"]["CalledFunction"];
    };
    /**
    * MessageList
    * @description Messages in order. Send `next_cursor` as `cursor` for the next page, if there is one.
    */
    MessageList: {
      /** Messages */messages: components["schemas"]["SessionMessage"][]; /** Next Cursor */
      next_cursor?: string;
    };
    /**
    * ModelInfo
    * @description A model that a request can name. Sizes are in tokens. Keys that the upstream doesn't report are left out.
    *
    *     A model without `pricing` has no known price.
    */
    ModelInfo: {
      /** Id */id: string; /** Provider */
      provider: string; /** Name */
      name?: string; /** Description */
      description?: string; /** Capabilities */
      capabilities?: {
        [key: string]: boolean;
      }; /** Context Tokens */
      context_tokens?: number; /** Max Output Tokens */
      max_output_tokens?: number;
      pricing?: components["schemas"]["Pricing"];
    };
    /**
    * ModelList
    * @description The models on offer.
    *
    *     `source` is `upstream` for a current list, `stale` for an older one that could not be refreshed, and `builtin` for
    *     the list that comes with the service. With several upstreams, it is the worst of their sources. `problem` says why
    *     a list could not be fetched and which setting to check.
    */
    ModelList: {
      /**
      * Source
      * @enum {string}
      */
      source: "upstream" | "stale" | "builtin"; /** Default Model */
      default_model?: string; /** Problem */
      problem?: string; /** Models */
      models: components["schemas"]["ModelInfo"][];
    };
    /**
    * NamedTool
    * @description The tool that the model must call.
    */
    NamedTool: {
      /**
      * Name
      * @description The name of the tool.
      */
      name: string;
    };
    /**
    * NewApiKey
    * @description A new API key with the key itself, which is not stored and can't be shown again.
    */
    NewApiKey: {
      /** Key Id */key_id: string; /** Owner */
      owner: string; /** Name */
      name?: string; /** Scopes */
      scopes: components["schemas"]["Scope"][]; /** Models */
      models?: string[]; /** Created At */
      created_at: string; /** Expires At */
      expires_at?: string; /** Last Used At */
      last_used_at?: string; /** Revoked At */
      revoked_at?: string; /** Key */
      key: string;
    };
    /**
    * PendingBudget
    * @description The run's budget has too little left for another model turn. Without a decision, the run ends at `expires_at`.
    *
    *     What is spent includes an estimate for each answer that was cut before its server counted it.
    */
    PendingBudget: {
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      kind: "budget"; /** Spent Cost Usd */
      spent_cost_usd?: number; /** Max Cost Usd */
      max_cost_usd?: number; /** Spent Tokens */
      spent_tokens: number; /** Max Total Tokens */
      max_total_tokens?: number; /** Expires At */
      expires_at: string;
    };
    /**
    * PendingCall
    * @description A call that needs a person's approval (`approval`), or whose result the client has to send (`client`).
    */
    PendingCall: {
      /** Tool Call Id */tool_call_id: string; /** Name */
      name: string;
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      kind: "approval" | "client";
    };
    /**
    * Pricing
    * @description The price of a model, and its source: MODEL_PRICES, the model server's own list, or the snapshot.
    *
    *     The snapshot is the list of public prices that comes with the service. `per_request` is in US dollars.
    */
    Pricing: {
      /** Input Per Million */input_per_million: number; /** Output Per Million */
      output_per_million: number; /** Cached Input Per Million */
      cached_input_per_million?: number; /** Cache Write Per Million */
      cache_write_per_million?: number; /** Reasoning Per Million */
      reasoning_per_million?: number;
      /**
      * Source
      * @enum {string}
      */
      source: "settings" | "server" | "snapshot"; /** Per Request */
      per_request?: number; /** Long Input */
      long_input?: components["schemas"]["LongInputPrices"][];
    };
    /**
    * Ready
    * @description A run can start. `upstreams` names the model servers in use, and `event_log` the backend that stores events.
    *
    *     `default_model` is null until the model server has returned the list of models that decides it.
    */
    Ready: {
      /** Status */status: string; /** Upstreams */
      upstreams: string[]; /** Default Model */
      default_model: string | null; /** Event Log */
      event_log: string;
    };
    /**
    * Run
    * @description A run.
    *
    *     `last_seq` is the number of its last event so far. `pending` is what a waiting run needs an answer to.
    *     `model` is the one that was asked for, and `answered_by` the one that the latest step's answer is from.
    */
    Run: {
      /** Run Id */run_id: string; /** Session Id */
      session_id?: string; /** Parent Run Id */
      parent_run_id?: string;
      status: components["schemas"]["RunStatus"]; /** Model */
      model: string; /** Answered By */
      answered_by?: string; /** Created At */
      created_at: string; /** Finished At */
      finished_at?: string; /** Last Seq */
      last_seq: number;
      /**
      * On Disconnect
      * @enum {string}
      */
      on_disconnect: "cancel" | "continue"; /** Metadata */
      metadata?: {
        [key: string]: string;
      }; /** Pending */
      pending?: (components["schemas"]["PendingCall"] | components["schemas"]["PendingBudget"])[]; /** Finish Reason */
      finish_reason?: string;
      usage?: components["schemas"]["Usage"]; /** Steps */
      steps?: number;
      error?: components["schemas"]["RunError"];
    };
    /**
    * RunError
    * @description Why the run failed. Sent at most once. `retry_after` is in seconds.
    */
    RunError: {
      /** Code */code: string; /** Message */
      message: string; /** Retryable */
      retryable: boolean; /** Request Id */
      request_id: string; /** Retry After */
      retry_after?: number;
    };
    /**
    * RunList
    * @description A page of runs, the latest first. Send `next_cursor` as `cursor` for the next page. The last page has none.
    */
    RunList: {
      /** Runs */runs: components["schemas"]["Run"][]; /** Next Cursor */
      next_cursor?: string;
    };
    /**
    * RunStatus
    * @description The status of a run.
    * @enum {string}
    */
    RunStatus: "queued" | "running" | "waiting" | "succeeded" | "failed" | "cancelled";
    /**
    * RunToken
    * @description A token with which a page reads one run, in the query `?token=…` of a GET request. `expires_at` is in UTC.
    */
    RunToken: {
      /** Token */token: string; /** Expires At */
      expires_at: string;
    };
    /**
    * RunWarning
    * @description Something was left out or lost that does not end the run. Accept unknown codes: later versions add some.
    */
    RunWarning: {
      code: string; /** Message */
      message: string;
    };
    /**
    * Scenario
    * @description The scripted runs of POST /stream/simulate.
    * @enum {string}
    */
    Scenario: "default" | "long" | "tool_error" | "error" | "slow" | "truncated" | "progress" | "approval" | "client_tool" | "fallback" | "sources" | "structured" | "budget";
    /**
    * Scope
    * @description A permission: to start and change runs and sessions, to read them, or everything, for every owner.
    * @enum {string}
    */
    Scope: "runs:write" | "runs:read" | "admin";
    /**
    * SearchLocation
    * @description The place that the search is about.
    */
    SearchLocation: {
      /**
      * Country
      * @description The ISO code of the country, such as `NO`.
      */
      country?: string;
      /**
      * Region
      * @description The region or state.
      */
      region?: string;
      /**
      * City
      * @description The city.
      */
      city?: string;
      /**
      * Timezone
      * @description The IANA name of the time zone, such as `Europe/Oslo`.
      */
      timezone?: string;
    };
    /**
    * Session
    * @description A conversation. `head_run_id` is its latest run, which the next run follows.
    *
    *     `status` is that of the latest run, and absent before the first one. `usage` is the sum over the runs of all
    *     branches.
    */
    Session: {
      /** Session Id */session_id: string; /** Title */
      title?: string; /** Metadata */
      metadata?: {
        [key: string]: string;
      }; /** Head Run Id */
      head_run_id?: string; /** Created At */
      created_at: string; /** Updated At */
      updated_at: string;
      status?: components["schemas"]["RunStatus"];
      usage: components["schemas"]["Usage"];
    };
    /**
    * SessionCreate
    * @description A session to create. Without an id, the service chooses one.
    * @example {
    *       "session_id": "chat-1",
    *       "title": "The weather in Oslo"
    *     }
    * @example {}
    */
    SessionCreate: {
      /**
      * Session Id
      * @description The id of the new session. By default, the service chooses one.
      */
      session_id?: string;
      /**
      * Title
      * @description The default is the beginning of the first input.
      */
      title?: string;
      /**
      * Metadata
      * @description Stored with the session and returned with it. Not sent to the model.
      */
      metadata?: {
        [key: string]: string;
      };
    };
    /**
    * SessionList
    * @description Sessions, the most recently used first. Send `next_cursor` as `cursor` for the next page, if there is one.
    */
    SessionList: {
      /** Sessions */sessions: components["schemas"]["Session"][]; /** Next Cursor */
      next_cursor?: string;
    };
    /**
    * SessionMessage
    * @description A message of a session. The input of a run is there from its start, the other messages once it has ended.
    *
    *     `parent_id` is the previous message of its branch. `status`, `answered_by` and `error` are those of its run. A
    *     `queued`, `running` or `waiting` run can be followed by its id. An assistant message is `thinking`, then `content`,
    *     then `tool_calls`. The results of calls are also in messages with the role `tool`. `sources` are the web pages that
    *     the message cites. If the run's request has an `output_schema`, the last message has `data`, the value of its
    *     `content`, and `attempts`, the number of answers until it matched.
    */
    SessionMessage: {
      /** Run Id */run_id: string;
      /**
      * Role
      * @enum {string}
      */
      role: "user" | "assistant" | "tool"; /** Content */
      content: string | (components["schemas"]["TextPart"] | components["schemas"]["ImagePart"] | components["schemas"]["FilePart"] | components["schemas"]["AudioPart"])[] | null; /** Thinking */
      thinking?: string; /** Tool Calls */
      tool_calls?: components["schemas"]["FunctionCall"][]; /** Tool Call Id */
      tool_call_id?: string; /** Is Error */
      is_error?: boolean; /** Sources */
      sources?: components["schemas"]["Source"][];
      /**
      * Data
      * @description Any JSON value.
      */
      data?: unknown; /** Attempts */
      attempts?: number; /** Message Id */
      message_id: string; /** Parent Id */
      parent_id?: string;
      status: components["schemas"]["RunStatus"]; /** Answered By */
      answered_by?: string;
      error?: components["schemas"]["RunError"];
    };
    /**
    * SessionUpdate
    * @description Changes to a session. An omitted field keeps its value. null removes it.
    * @example {
    *       "title": "Winter in Norway"
    *     }
    * @example {}
    */
    SessionUpdate: {
      /**
      * Title
      * @description The new title.
      */
      title?: string | null;
      /**
      * Metadata
      * @description The new metadata, in place of all of the old.
      */
      metadata?: {
        [key: string]: string;
      } | null;
    };
    /**
    * SimulateRequest
    * @description A request for a scripted run: always the same events, without a model or a key.
    *
    *     It accepts and validates every field of POST /api/agent/stream, so that a front end can switch between the two. The
    *     script uses `input`, `scenario` and `delay_ms`. The session's fields, `on_disconnect` and `metadata` mean the same
    *     as for a real run. The others are ignored.
    * @example {
    *       "input": "Test",
    *       "model": "openai/gpt-4.1",
    *       "scenario": "default"
    *     }
    * @example {
    *       "delay_ms": 0,
    *       "scenario": "error"
    *     }
    */
    SimulateRequest: {
      /**
      * Temperature
      * @description The sampling temperature.
      */
      temperature?: number;
      /**
      * Top P
      * @description Nucleus sampling: the probability mass considered.
      */
      top_p?: number;
      /**
      * Top K
      * @description The number of most likely tokens to sample from.
      */
      top_k?: number;
      /**
      * Frequency Penalty
      * @description Makes tokens less likely the more often they have occurred.
      */
      frequency_penalty?: number;
      /**
      * Presence Penalty
      * @description Makes tokens that have already occurred less likely.
      */
      presence_penalty?: number;
      /**
      * Max Tokens
      * @description The maximum number of output tokens in each model turn.
      */
      max_tokens?: number;
      /**
      * Reasoning Effort
      * @description How much a reasoning model thinks.
      * @enum {string}
      */
      reasoning_effort?: "none" | "minimal" | "low" | "medium" | "high" | "xhigh";
      /**
      * Thinking Budget
      * @description The maximum number of thinking tokens in each turn, below `max_tokens`, or `adaptive` to let the model decide. Not together with `reasoning_effort`.
      */
      thinking_budget?: number | "adaptive";
      /**
      * Verbosity
      * @description How long the answer is.
      * @enum {string}
      */
      verbosity?: "low" | "medium" | "high";
      /**
      * Service Tier
      * @description The processing tier, such as `auto`, `flex` or `priority`.
      */
      service_tier?: string;
      /**
      * Prompt Cache Retention
      * @description How long OpenAI keeps the beginning of a prompt in its cache: `in_memory` (minutes) or `24h`. The default is PROMPT_CACHE_RETENTION.
      * @enum {string}
      */
      prompt_cache_retention?: "in_memory" | "24h";
      /**
      * Stop
      * @description One or more sequences at which the model stops.
      */
      stop?: string | string[];
      /**
      * Seed
      * @description A seed for sampling, if the model server supports one.
      */
      seed?: number;
      /**
      * Response Format
      * @description Passed to the model server unchanged, such as `{"type": "json_object"}`.
      */
      response_format?: {
        [key: string]: components["schemas"]["JsonValue"];
      };
      /**
      * Output Schema
      * @description A JSON Schema that the final answer has to match. The answer is checked, and the model is asked again if it doesn't match. `final_output.data` has its value. References must point inside the schema. Not together with `response_format`.
      */
      output_schema?: {
        [key: string]: components["schemas"]["JsonValue"];
      };
      /**
      * Tool Choice
      * @description Whether the model calls tools: `auto`, `none`, `required`, or the name of one as `{"name": "get_weather"}`. A call is forced in the first step only.
      */
      tool_choice?: ("auto" | "none" | "required") | components["schemas"]["NamedTool"];
      /**
      * Parallel Tool Calls
      * @description Whether the model may call several tools at once.
      */
      parallel_tool_calls?: boolean;
      /**
      * Web Search
      * @description Lets the model server search the web: `true`, or options.
      */
      web_search?: boolean | components["schemas"]["WebSearch"];
      /**
      * Max Turns
      * @description The maximum number of turns in which the model server calls hosted MCP servers by itself, within one step. The default is the number of steps left.
      */
      max_turns?: number;
      /**
      * Provider Options
      * @description Further parameters, sent unchanged. PROVIDER_OPTIONS names those that are allowed.
      */
      provider_options?: {
        [key: string]: components["schemas"]["JsonValue"];
      };
      /**
      * Input
      * @description Repeated in the scripted answer.
      * @default What is the weather in Oslo?
      */
      input?: string | (components["schemas"]["TextPart"] | components["schemas"]["ImagePart"] | components["schemas"]["FilePart"] | components["schemas"]["AudioPart"])[];
      /**
      * Model
      * @description The model, as `provider/model`. See GET /api/agent/models. The default is DEFAULT_MODEL.
      */
      model?: string;
      /**
      * Fallback Models
      * @description Models that answer, in order, in place of one that fails. The default is FALLBACK_MODELS.
      */
      fallback_models?: string[];
      /**
      * Tools
      * @description Python tools that the model may call. See GET /api/agent/tools. The default is TOOLS_BY_DEFAULT.
      */
      tools?: string[];
      /**
      * Client Tools
      * @description Tools that the client runs. The run waits for their results.
      */
      client_tools?: components["schemas"]["ClientTool"][];
      /**
      * Mcp Servers
      * @description MCP servers whose tools the model may call: `owner/name`, `owner/name@version`, an https URL, or a name in MCP_SERVERS. See GET /api/agent/mcp-servers. With `"run": "local"` this service calls the server itself, even if the model server could.
      */
      mcp_servers?: (string | components["schemas"]["McpServerRef"])[];
      /**
      * Require Approval
      * @description Tools of this request whose calls need a person's approval, in addition to those that always do. See POST /api/agent/runs/{run_id}/approvals/{tool_call_id}.
      */
      require_approval?: string[];
      /**
      * Instructions
      * @description The system prompt.
      */
      instructions?: string;
      /**
      * Messages
      * @description The conversation before `input`, if the client stores it.
      */
      messages?: components["schemas"]["Message"][];
      /**
      * Max Steps
      * @description The maximum number of model turns. The default is MAX_STEPS.
      */
      max_steps?: number;
      /**
      * Max Cost Usd
      * @description The US dollars that the run may spend. Once too little is left, it waits for a decision: see POST /api/agent/runs/{run_id}/budget. The model needs a known price. MAX_COST_USD is the upper bound.
      */
      max_cost_usd?: number;
      /**
      * Max Total Tokens
      * @description The tokens that all steps of the run may take together, input and output. Once too few are left, it waits for a decision, as with `max_cost_usd`. MAX_TOTAL_TOKENS is the upper bound.
      */
      max_total_tokens?: number;
      /**
      * Metadata
      * @description Stored with the run and returned by GET /api/agent/runs/{run_id}. Not sent to the model.
      */
      metadata?: {
        [key: string]: string;
      };
      /**
      * On Disconnect
      * @description What happens to a run that has had no reader for DISCONNECT_GRACE_S seconds: `cancel` it, or `continue`. For POST /api/agent/runs, the default is `continue`.
      * @default cancel
      * @enum {string}
      */
      on_disconnect?: "cancel" | "continue";
      /**
      * Session Id
      * @description The session to continue. A new id creates one. Its history is sent to the model.
      */
      session_id?: string;
      /**
      * Parent Run Id
      * @description With `session_id`: an earlier run to branch from, instead of following the latest.
      */
      parent_run_id?: string;
      /**
      * Parent State
      * @description Start after the parent run, or `before` it, for example to ask its question again.
      * @default after
      * @enum {string}
      */
      parent_state?: "before" | "after";
      /**
      * Multitask
      * @description What to do if another run of the session has not ended: `reject` this request with 409, `enqueue` it, or `interrupt` that run. By default, a run without a reader is interrupted, and any other is a 409.
      * @enum {string}
      */
      multitask?: "reject" | "enqueue" | "interrupt";
      /**
      * @description The script to play.
      * @default default
      */
      scenario?: components["schemas"]["Scenario"];
      /**
      * Delay Ms
      * @description The pause before each event, in milliseconds.
      * @default 30
      */
      delay_ms?: number;
    };
    /**
    * Source
    * @description A web page that the answer cites. Sent once for each URL of a run; `url` begins with http:// or https://.
    *
    *     `title` and `snippet` are texts of the page, on one line each and cut, and not checked further: show them as text.
    */
    Source: {
      /** Url */url: string; /** Title */
      title?: string; /** Snippet */
      snippet?: string;
    };
    /**
    * TextPart
    * @description A piece of text.
    */
    TextPart: {
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      type: "text";
      /**
      * Text
      * @description The text.
      */
      text: string;
    };
    /**
    * ToolCall
    * @description A tool call with its result.
    *
    *     `arguments` are the model's. `approval_response` is a person's decision on the call, as in the event. If it has
    *     `arguments`, the call was made with these.
    */
    ToolCall: {
      /** Tool Call Id */tool_call_id: string; /** Name */
      name: string; /** Arguments */
      arguments: {
        [key: string]: unknown;
      };
      /**
      * Source
      * @enum {string}
      */
      source: "python" | "mcp" | "hosted" | "client"; /** Server */
      server?: string;
      approval_response?: components["schemas"]["ApprovalResponse"]; /** Result */
      result?: string; /** Is Error */
      is_error?: boolean;
    };
    /**
    * ToolInfo
    * @description A tool that a request can name. `parameters` is the JSON schema of its arguments.
    *
    *     Calls of a tool with `approval` always need a person's approval. A call of an `idempotent` tool may be repeated
    *     after a crash.
    */
    ToolInfo: {
      /** Name */name: string; /** Description */
      description: string; /** Parameters */
      parameters: {
        [key: string]: unknown;
      }; /** Approval */
      approval: boolean; /** Idempotent */
      idempotent: boolean;
    };
    /**
    * ToolList
    * @description The Python tools of this service. `default` are those of a request without `tools`.
    */
    ToolList: {
      /** Tools */tools: components["schemas"]["ToolInfo"][]; /** Default */
      default: string[];
    };
    /**
    * Usage
    * @description Token counts as the model server reports them, and their cost. For a run, they are the sums over its steps.
    *
    *     `input_tokens` includes the tokens that were read from the provider's cache or written to it. `cost_usd` is in US
    *     dollars. It is left out if a part of it is unknown.
    */
    Usage: {
      /** Input Tokens */input_tokens: number | null; /** Output Tokens */
      output_tokens: number | null; /** Total Tokens */
      total_tokens: number | null; /** Reasoning Tokens */
      reasoning_tokens?: number; /** Cached Input Tokens */
      cached_input_tokens?: number; /** Cache Write Input Tokens */
      cache_write_input_tokens?: number; /** Cost Usd */
      cost_usd?: number;
    };
    /**
    * WarningCode
    * @description Every code of a `warning` event. docs/errors.md explains them.
    * @enum {string}
    */
    WarningCode: "empty_answer" | "history_cut" | "mcp_authorization_required" | "mcp_server_unavailable" | "mcp_tool_left_out" | "model_fallback" | "model_substituted" | "parameter_left_out" | "tools_left_out";
    /**
    * WebSearch
    * @description The options of a web search that the model server makes.
    */
    WebSearch: {
      /**
      * Search Context Size
      * @description How much of the pages found the model reads.
      * @enum {string}
      */
      search_context_size?: "low" | "medium" | "high"; /** @description The place that the search is about. */
      user_location?: components["schemas"]["SearchLocation"];
    };
    /**
    * ApprovalRequest
    * @description A call needs a person's approval. Without a decision it is refused at `expires_at` (UTC, RFC 3339).
    */
    ApprovalRequest: {
      /** Tool Call Id */tool_call_id: string; /** Name */
      name: string; /** Arguments */
      arguments: {
        [key: string]: unknown;
      }; /** Expires At */
      expires_at: string;
    };
    /**
    * ApprovalRequestEvent
    * @description The event `approval_request`.
    */
    ApprovalRequestEvent: {
      /** Run Id */run_id: string; /** Seq */
      seq: number;
      /**
      * Timestamp
      * @description The time in UTC, as RFC 3339 with milliseconds.
      * @example 2026-11-22T10:00:00.123Z
      */
      timestamp: string;
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      event: "approval_request";
      data: components["schemas"]["ApprovalRequest"];
    };
    /**
    * ApprovalResponseEvent
    * @description The event `approval_response`.
    */
    ApprovalResponseEvent: {
      /** Run Id */run_id: string; /** Seq */
      seq: number;
      /**
      * Timestamp
      * @description The time in UTC, as RFC 3339 with milliseconds.
      * @example 2026-11-22T10:00:00.123Z
      */
      timestamp: string;
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      event: "approval_response";
      data: components["schemas"]["ApprovalResponse"];
    };
    /**
    * BudgetResponse
    * @description The decision on a budget. With approval, the totals that are present replace those before.
    */
    BudgetResponse: {
      /** Approved */approved: boolean; /** Max Cost Usd */
      max_cost_usd?: number; /** Max Total Tokens */
      max_total_tokens?: number;
    };
    /**
    * BudgetResponseEvent
    * @description The event `budget_response`.
    */
    BudgetResponseEvent: {
      /** Run Id */run_id: string; /** Seq */
      seq: number;
      /**
      * Timestamp
      * @description The time in UTC, as RFC 3339 with milliseconds.
      * @example 2026-11-22T10:00:00.123Z
      */
      timestamp: string;
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      event: "budget_response";
      data: components["schemas"]["BudgetResponse"];
    };
    /**
    * Complete
    * @description The last event of every run, sent exactly once. Times are in milliseconds from the run's start, with waits.
    */
    Complete: {
      /**
      * Status
      * @enum {string}
      */
      status: "succeeded" | "failed" | "cancelled"; /** Finish Reason */
      finish_reason?: string;
      usage: components["schemas"]["Usage"]; /** Steps */
      steps: number; /** Duration Ms */
      duration_ms: number; /** Time To First Token Ms */
      time_to_first_token_ms?: number;
    };
    /**
    * CompleteEvent
    * @description The event `complete`.
    */
    CompleteEvent: {
      /** Run Id */run_id: string; /** Seq */
      seq: number;
      /**
      * Timestamp
      * @description The time in UTC, as RFC 3339 with milliseconds.
      * @example 2026-11-22T10:00:00.123Z
      */
      timestamp: string;
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      event: "complete";
      data: components["schemas"]["Complete"];
    };
    /**
    * FinalOutput
    * @description The complete answer: the joined `partial_output` of the last step, since its last `step_restarted`.
    *
    *     If the request has an `output_schema`, `data` is the answer's value, which matches it, and `attempts` is the number
    *     of answers until then.
    */
    FinalOutput: {
      /** Content */content: string;
      /**
      * Data
      * @description Any JSON value.
      */
      data?: unknown; /** Attempts */
      attempts?: number;
    };
    /**
    * FinalOutputEvent
    * @description The event `final_output`.
    */
    FinalOutputEvent: {
      /** Run Id */run_id: string; /** Seq */
      seq: number;
      /**
      * Timestamp
      * @description The time in UTC, as RFC 3339 with milliseconds.
      * @example 2026-11-22T10:00:00.123Z
      */
      timestamp: string;
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      event: "final_output";
      data: components["schemas"]["FinalOutput"];
    };
    /**
    * PartialOutput
    * @description The next piece of the answer.
    */
    PartialOutput: {
      /** Content */content: string;
    };
    /**
    * PartialOutputEvent
    * @description The event `partial_output`.
    */
    PartialOutputEvent: {
      /** Run Id */run_id: string; /** Seq */
      seq: number;
      /**
      * Timestamp
      * @description The time in UTC, as RFC 3339 with milliseconds.
      * @example 2026-11-22T10:00:00.123Z
      */
      timestamp: string;
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      event: "partial_output";
      data: components["schemas"]["PartialOutput"];
    };
    /**
    * RunErrorEvent
    * @description The event `error`.
    */
    RunErrorEvent: {
      /** Run Id */run_id: string; /** Seq */
      seq: number;
      /**
      * Timestamp
      * @description The time in UTC, as RFC 3339 with milliseconds.
      * @example 2026-11-22T10:00:00.123Z
      */
      timestamp: string;
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      event: "error";
      data: components["schemas"]["RunError"];
    };
    /**
    * RunStarted
    * @description The first event of every run. It is recorded before the response headers are sent.
    *
    *     `owner` is the caller that the run belongs to. It is absent while authentication is off.
    */
    RunStarted: {
      /** Model */model: string; /** Session Id */
      session_id?: string; /** Owner */
      owner?: string;
    };
    /**
    * RunStartedEvent
    * @description The event `run_started`.
    */
    RunStartedEvent: {
      /** Run Id */run_id: string; /** Seq */
      seq: number;
      /**
      * Timestamp
      * @description The time in UTC, as RFC 3339 with milliseconds.
      * @example 2026-11-22T10:00:00.123Z
      */
      timestamp: string;
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      event: "run_started";
      data: components["schemas"]["RunStarted"];
    };
    /**
    * RunWarningEvent
    * @description The event `warning`.
    */
    RunWarningEvent: {
      /** Run Id */run_id: string; /** Seq */
      seq: number;
      /**
      * Timestamp
      * @description The time in UTC, as RFC 3339 with milliseconds.
      * @example 2026-11-22T10:00:00.123Z
      */
      timestamp: string;
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      event: "warning";
      data: components["schemas"]["RunWarning"];
    };
    /**
    * SourceEvent
    * @description The event `source`.
    */
    SourceEvent: {
      /** Run Id */run_id: string; /** Seq */
      seq: number;
      /**
      * Timestamp
      * @description The time in UTC, as RFC 3339 with milliseconds.
      * @example 2026-11-22T10:00:00.123Z
      */
      timestamp: string;
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      event: "source";
      data: components["schemas"]["Source"];
    };
    /**
    * StepFinished
    * @description A model turn has ended, and the calls of its tools as well. `model` is the one that answered.
    */
    StepFinished: {
      /** Step */step: number; /** Model */
      model: string; /** Finish Reason */
      finish_reason: string;
      usage: components["schemas"]["Usage"];
    };
    /**
    * StepFinishedEvent
    * @description The event `step_finished`.
    */
    StepFinishedEvent: {
      /** Run Id */run_id: string; /** Seq */
      seq: number;
      /**
      * Timestamp
      * @description The time in UTC, as RFC 3339 with milliseconds.
      * @example 2026-11-22T10:00:00.123Z
      */
      timestamp: string;
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      event: "step_finished";
      data: components["schemas"]["StepFinished"];
    };
    /**
    * StepRestarted
    * @description The step begins again: its thinking, text, calls and sources so far no longer count.
    *
    *     The step has no second `step_started`. Its calls so far get no more results. `model` is present if another model
    *     answers from here on. `usage` is that of the dropped attempt, as far as its server has reported it. It is part of
    *     the step's usage.
    */
    StepRestarted: {
      /** Step */step: number;
      /**
      * Reason
      * @enum {string}
      */
      reason: "fallback" | "output_invalid" | "blocked" | "owner_lost"; /** Model */
      model?: string;
      usage?: components["schemas"]["Usage"];
    };
    /**
    * StepRestartedEvent
    * @description The event `step_restarted`.
    */
    StepRestartedEvent: {
      /** Run Id */run_id: string; /** Seq */
      seq: number;
      /**
      * Timestamp
      * @description The time in UTC, as RFC 3339 with milliseconds.
      * @example 2026-11-22T10:00:00.123Z
      */
      timestamp: string;
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      event: "step_restarted";
      data: components["schemas"]["StepRestarted"];
    };
    /**
    * StepStarted
    * @description A model turn begins. `step` counts 1, 2, …
    */
    StepStarted: {
      /** Step */step: number; /** Model */
      model: string;
    };
    /**
    * StepStartedEvent
    * @description The event `step_started`.
    */
    StepStartedEvent: {
      /** Run Id */run_id: string; /** Seq */
      seq: number;
      /**
      * Timestamp
      * @description The time in UTC, as RFC 3339 with milliseconds.
      * @example 2026-11-22T10:00:00.123Z
      */
      timestamp: string;
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      event: "step_started";
      data: components["schemas"]["StepStarted"];
    };
    /**
    * Thinking
    * @description The next piece of the model's reasoning.
    */
    Thinking: {
      /** Content */content: string;
    };
    /**
    * ThinkingEvent
    * @description The event `thinking`.
    */
    ThinkingEvent: {
      /** Run Id */run_id: string; /** Seq */
      seq: number;
      /**
      * Timestamp
      * @description The time in UTC, as RFC 3339 with milliseconds.
      * @example 2026-11-22T10:00:00.123Z
      */
      timestamp: string;
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      event: "thinking";
      data: components["schemas"]["Thinking"];
    };
    /**
    * ToolProgress
    * @description A progress report of a running tool.
    */
    ToolProgress: {
      /** Tool Call Id */tool_call_id: string; /** Message */
      message?: string; /** Progress */
      progress?: number; /** Total */
      total?: number;
    };
    /**
    * ToolProgressEvent
    * @description The event `tool_progress`.
    */
    ToolProgressEvent: {
      /** Run Id */run_id: string; /** Seq */
      seq: number;
      /**
      * Timestamp
      * @description The time in UTC, as RFC 3339 with milliseconds.
      * @example 2026-11-22T10:00:00.123Z
      */
      timestamp: string;
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      event: "tool_progress";
      data: components["schemas"]["ToolProgress"];
    };
    /**
    * ToolResult
    * @description The result of a tool call. Above MAX_TOOL_RESULT_BYTES it is cut and `truncated`.
    *
    *     Each `tool_use` has one, except those that a `step_restarted` has dropped.
    */
    ToolResult: {
      /** Tool Call Id */tool_call_id: string; /** Name */
      name: string; /** Content */
      content: string; /** Is Error */
      is_error: boolean; /** Duration Ms */
      duration_ms?: number; /** Truncated */
      truncated: boolean;
    };
    /**
    * ToolResultEvent
    * @description The event `tool_result`.
    */
    ToolResultEvent: {
      /** Run Id */run_id: string; /** Seq */
      seq: number;
      /**
      * Timestamp
      * @description The time in UTC, as RFC 3339 with milliseconds.
      * @example 2026-11-22T10:00:00.123Z
      */
      timestamp: string;
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      event: "tool_result";
      data: components["schemas"]["ToolResult"];
    };
    /**
    * ToolUse
    * @description A complete tool call. Sent once for each call: at the end of the turn, or before the result of a hosted tool.
    *
    *     Use these `arguments`, not the joined deltas, because some model servers send pieces twice. If the model's text is
    *     not a JSON object, it is in `invalid_arguments`.
    */
    ToolUse: {
      /** Tool Call Id */tool_call_id: string; /** Name */
      name: string; /** Arguments */
      arguments: {
        [key: string]: unknown;
      };
      /**
      * Source
      * @enum {string}
      */
      source: "python" | "mcp" | "hosted" | "client"; /** Server */
      server?: string; /** Invalid Arguments */
      invalid_arguments?: string;
    };
    /**
    * ToolUseDelta
    * @description The next piece of a tool call's arguments, as JSON text, while the model writes them.
    */
    ToolUseDelta: {
      /** Tool Call Id */tool_call_id: string; /** Name */
      name: string; /** Arguments Delta */
      arguments_delta: string;
      /**
      * Source
      * @enum {string}
      */
      source: "python" | "mcp" | "hosted" | "client"; /** Server */
      server?: string;
    };
    /**
    * ToolUseDeltaEvent
    * @description The event `tool_use_delta`.
    */
    ToolUseDeltaEvent: {
      /** Run Id */run_id: string; /** Seq */
      seq: number;
      /**
      * Timestamp
      * @description The time in UTC, as RFC 3339 with milliseconds.
      * @example 2026-11-22T10:00:00.123Z
      */
      timestamp: string;
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      event: "tool_use_delta";
      data: components["schemas"]["ToolUseDelta"];
    };
    /**
    * ToolUseEvent
    * @description The event `tool_use`.
    */
    ToolUseEvent: {
      /** Run Id */run_id: string; /** Seq */
      seq: number;
      /**
      * Timestamp
      * @description The time in UTC, as RFC 3339 with milliseconds.
      * @example 2026-11-22T10:00:00.123Z
      */
      timestamp: string;
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      event: "tool_use";
      data: components["schemas"]["ToolUse"];
    };
    /**
    * Waiting
    * @description The run is suspended until each of these has an answer. A budget is pending alone.
    */
    Waiting: {
      /** Pending */pending: (components["schemas"]["PendingCall"] | components["schemas"]["PendingBudget"])[];
    };
    /**
    * WaitingEvent
    * @description The event `waiting`.
    */
    WaitingEvent: {
      /** Run Id */run_id: string; /** Seq */
      seq: number;
      /**
      * Timestamp
      * @description The time in UTC, as RFC 3339 with milliseconds.
      * @example 2026-11-22T10:00:00.123Z
      */
      timestamp: string;
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      event: "waiting";
      data: components["schemas"]["Waiting"];
    };
    StreamEvent: components["schemas"]["RunStartedEvent"] | components["schemas"]["StepStartedEvent"] | components["schemas"]["ThinkingEvent"] | components["schemas"]["PartialOutputEvent"] | components["schemas"]["ToolUseDeltaEvent"] | components["schemas"]["ToolUseEvent"] | components["schemas"]["ApprovalRequestEvent"] | components["schemas"]["WaitingEvent"] | components["schemas"]["ApprovalResponseEvent"] | components["schemas"]["BudgetResponseEvent"] | components["schemas"]["ToolProgressEvent"] | components["schemas"]["ToolResultEvent"] | components["schemas"]["SourceEvent"] | components["schemas"]["StepRestartedEvent"] | components["schemas"]["StepFinishedEvent"] | components["schemas"]["RunWarningEvent"] | components["schemas"]["FinalOutputEvent"] | components["schemas"]["RunErrorEvent"] | components["schemas"]["CompleteEvent"];
    /**
    * RefusalComplete
    * @description The second and last frame of a refused request: `status` is `failed`, and the counts are empty.
    */
    RefusalComplete: {
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      event: "complete";
      data: components["schemas"]["Complete"];
    };
    /**
    * RefusalError
    * @description The first frame of a refused request: why no run was started.
    */
    RefusalError: {
      /**
      * @description discriminator enum property added by openapi-typescript
      * @enum {string}
      */
      event: "error";
      data: components["schemas"]["ErrorInfo"];
    };
    RefusalEvent: components["schemas"]["RefusalError"] | components["schemas"]["RefusalComplete"]; /** @description One server-sent event, as an EventSource parser returns it. `id` is the event's `seq`. Send it as `Last-Event-ID` to resume after this event. */
    StreamFrame: {
      id?: string; /** @description The event's name, the same as `event` in the data. */
      event: string;
      data: string;
    }; /** @description One server-sent event, as an EventSource parser returns it. It has no `id`, because there is no run to resume. */
    RefusalFrame: {
      id?: string; /** @description The event's name, the same as `event` in the data. */
      event: string;
      data: string;
    };
  };
  responses: never;
  parameters: never;
  requestBodies: never;
  headers: never;
  pathItems: never;
}
//#endregion
//#region src/contract.d.ts
type Schemas = components["schemas"];
/**
* The JSON of `arguments`, with every digit. The package adds it, because JavaScript's numbers round whole numbers beyond
* 2^53. Show and send this text.
*/
interface ArgumentsText {
  arguments_text: string;
}
/** The JSON of the `data` of an answer, with every digit. The package adds it where there is `data`. */
interface DataText {
  data_text: string;
}
type Exact<Event extends {
  data: object;
}> = Event extends {
  event: "tool_use" | "approval_request";
} ? Omit<Event, "data"> & {
  data: Event["data"] & ArgumentsText;
} : Event extends {
  event: "approval_response";
} ? Omit<Event, "data"> & {
  data: Event["data"] & Partial<ArgumentsText>;
} : Event extends {
  event: "final_output";
} ? Omit<Event, "data"> & {
  data: Event["data"] & Partial<DataText>;
} : Event;
type WithTexts<Call> = Omit<Call, "approval_response"> & ArgumentsText & {
  approval_response?: EventData["approval_response"];
};
/**
* An event of a run. `seq` counts 1, 2, 3 …; `complete` is the last. Switch on `event`, and `data` has its type. `data` with
* `arguments` also has `arguments_text`, and `final_output` with a value `data_text`.
*/
type StreamEvent = Exact<Schemas["StreamEvent"]>;
/** The data of each event, by the event's name. */
type EventData = { [Event in StreamEvent as Event["event"]]: Event["data"] };
type Complete = Schemas["Complete"];
type Usage = Schemas["Usage"];
/** A web page that an answer cites. `title` and `snippet` are texts of the page: show them as text, never as HTML. */
type Source = Schemas["Source"];
type ToolSource = Schemas["ToolUse"]["source"];
/** One question to the agent. */
type AgentRequest = Schemas["AgentRequest"];
/** A request for a scripted run. `scenario` selects the script. */
type SimulateRequest = Schemas["SimulateRequest"];
type Scenario = Schemas["Scenario"];
/** The answer to a question, as one JSON document. */
type AgentResponse<T = unknown> = Omit<Schemas["AgentResponse"], "tool_calls" | "data"> & {
  tool_calls: WithTexts<Schemas["ToolCall"]>[]; /** The value of `output`, if the request has an `output_schema`. Present if `attempts` is. */
  data?: T;
} & Partial<DataText>;
type Content = AgentRequest["input"];
/** A person's decision about a call that needs approval. */
type ApprovalDecision = Schemas["ApprovalDecision"];
/** New totals for a budget that is spent. One that is left out stays as it is. */
type BudgetTotals = Omit<Schemas["BudgetDecision"], "approved">;
/** A budget that has too little left for another model turn. Without a decision, the run ends at `expires_at`. */
type PendingBudget = Schemas["PendingBudget"];
/** The result of a call that the client makes. */
type ClientToolResult = Schemas["ClientToolResult"];
/** A description of a tool that the client runs. */
type ClientToolInfo = Schemas["ClientTool"];
/** The metadata of a run. */
type RunRecord = Schemas["Run"];
type RunList = Schemas["RunList"];
type RunStatus = Schemas["RunStatus"];
type Session = Schemas["Session"];
type SessionCreate = Schemas["SessionCreate"];
type SessionUpdate = Schemas["SessionUpdate"];
type SessionList = Schemas["SessionList"];
/** A call in a message of a session. Its `arguments` are the model's, those of its `approval_response` a person's. */
type FunctionCall = WithTexts<Schemas["FunctionCall"]>;
/** A message of a session. A run's messages follow its question. `parent_id` is the message before it on its branch. */
type SessionMessage = Omit<Schemas["SessionMessage"], "tool_calls"> & Partial<DataText> & {
  tool_calls?: FunctionCall[];
};
type MessageList = Omit<Schemas["MessageList"], "messages"> & {
  messages: SessionMessage[];
};
type ModelInfo = Schemas["ModelInfo"];
type ModelList = Schemas["ModelList"];
type ToolInfo = Schemas["ToolInfo"];
type ToolList = Schemas["ToolList"];
type McpServerInfo = Schemas["McpServerInfo"];
type McpServerList = Schemas["McpServerList"];
type Json = null | boolean | number | bigint | string | Json[] | {
  [key: string]: Json;
};
/** A type whose optional keys may be undefined, which counts as left out. */
type Loose<T> = { [Key in keyof T]: T[Key] | undefined };
/** Returns the object without the keys that are undefined. */
declare function given<T extends object>(loose: Loose<T>): T;
//#endregion
//#region src/frames.d.ts
/** An event with what an inspector wants to know about its arrival. */
interface Frame {
  event: StreamEvent;
  /** The event's JSON as the service has written it. */
  json: string;
  /** The frame's size on the wire. */
  bytes: number;
  /** When the client read it, by `performance.now()`. */
  receivedAt: number;
}
/** Returns an event, whose JSON is given. Throws a SyntaxError. */
declare const eventIn: (json: string) => StreamEvent;
/** Returns the events in JSON lines. */
declare function eventsIn(lines: string): StreamEvent[];
type EventStream = Response & {
  body: ReadableStream<Uint8Array>;
};
//#endregion
//#region src/options.d.ts
/** A tool that runs in the page. `parameters` is the JSON schema of its arguments, which are an object. */
interface ClientTool {
  description?: string | undefined;
  parameters?: Record<string, unknown> | undefined;
  /**
  * Returns text or a JSON value. Whole numbers beyond 2^53 in `args` are bigints, so that none is rounded. An exception is reported to the model as the call's error. */
  run: (args: Record<string, unknown>) => unknown;
}
/** How requests reach the service. */
interface ServiceOptions {
  /** The URL of the service; "" is the page's own origin. */
  baseUrl?: string | undefined;
  /** Headers for each request, such as Authorization, or a function that returns them. It may be asynchronous. */
  headers?: HeadersInit | (() => HeadersInit | Promise<HeadersInit>) | undefined;
  /** The function that makes requests, in place of the global `fetch`. */
  fetch?: typeof fetch | undefined;
  /**
  * How often in a row to try again without receiving anything new. By default, a question is sent up to five more times, or
  * with `storageKey` until it has arrived, and a run that has started is followed for as long as the service keeps it.
  */
  maxRetries?: number | undefined;
  /** The service's HEARTBEAT_S, by default 4. A connection without a byte for 2.5 of them is replaced. */
  heartbeatS?: number | undefined;
}
interface ConversationOptions extends ServiceOptions {
  /** The route that starts a run. A route of your own has to pass on the Idempotency-Key and the query. */
  path?: string | undefined;
  /**
  * The session of the conversation. A new id begins one. A run of it that is under way is followed, whichever page has
  * started it, when the page appears and when it becomes visible.
  */
  sessionId?: string | undefined;
  /**
  * The key in sessionStorage for the run under way, one for each session. With it, a reloaded page follows its run again and
  * replays it from the start, asks a question that has not arrived with the same Idempotency-Key, sends an answer that has not
  * arrived, and continues to cancel a run that was stopped.
  */
  storageKey?: string | undefined;
  /**
  * Tools that the page runs, by name. They are sent with each question that has no `client_tools` of its own. The page that
  * asked makes each of their calls once, also if it is reloaded meanwhile (with `storageKey`). Another page that follows
  * the run, such as a duplicated tab, shows them in `pending`.
  */
  clientTools?: Record<string, ClientTool> | undefined;
  /** The shortest time between two changes of the state, in milliseconds. By default 50: rendering costs more than reading. */
  renderMs?: number | undefined;
  /** Called once with each new event of any run, in order, before the state shows it. For inspectors. */
  onFrame?: ((frame: Frame) => void) | undefined;
}
type OnEvent = (event: StreamEvent) => void;
type OnRestart = (restart: EventData["step_restarted"]) => void;
/** A person's change of a call: it is made with these arguments instead. */
interface Changes {
  /** A number that JavaScript may have rounded is refused (`invalid_arguments`). */
  arguments?: Record<string, unknown> | undefined;
  /** The JSON of an object, in place of `arguments`. It is sent as it is, digit for digit. */
  arguments_text?: string | undefined;
}
//#endregion
//#region src/decisions.d.ts
/** A person's decision on a call that needs approval. An approval may have other arguments. */
type Decision = Omit<ApprovalDecision, "arguments"> & Changes;
//#endregion
//#region src/slots.d.ts
/** The right to hold one stream open. */
interface Slot {
  release: () => void;
}
/** The streams to one service that the tabs of a browser share. A visible tab gets one of a hidden tab. */
declare class Slots {
  private readonly url;
  private tabs;
  constructor(url: () => string);
  /** Returns a slot, or null if none is free. Outside of browsers, connections aren't limited. */
  take(): Promise<Slot | null>;
  /** Asks the hidden tabs for a slot, if this tab is visible. */
  ask(): void;
  /** Calls `giveWay` when this tab is hidden and a visible one needs a slot. Returns a function that stops this. */
  share(giveWay: () => void): () => void;
  private count;
}
//#endregion
//#region src/service.d.ts
interface Call extends RequestInit {
  signal?: AbortSignal;
  /** Called repeatedly while there is no response. */
  onSlow?: () => void;
  /** Whether the response may take longer than a heartbeat. */
  isLong?: boolean;
}
/** Sends requests to the service. */
declare class Service {
  options: ConversationOptions;
  readonly slots: Slots;
  constructor(options: ConversationOptions);
  get url(): string;
  get silenceMs(): number;
  /**
  * Resolves with the response once its head has arrived. Rejects if the signal aborts before that, or after `silenceMs`
  * and the time that a slow line needs for the body.
  */
  request(path: string, {
    signal,
    onSlow,
    isLong,
    ...init
  }?: Call): Promise<Response>;
  /** Posts a value, or its JSON. */
  post(path: string, body: object | string, {
    headers,
    ...call
  }?: Call): Promise<Response>;
  private givenHeaders;
}
//#endregion
//#region src/api.d.ts
interface ApiCall {
  /** Parameters of the query. Those that are undefined are left out. */
  query?: Record<string, string | number | boolean | undefined>;
  /** A value, or its JSON. */
  body?: object | string;
  headers?: HeadersInit;
  signal?: AbortSignal | undefined;
  /** Whether the response takes as long as a run. */
  isLong?: boolean;
  /** Whether the response has tool calls, whose arguments need their text. */
  hasCalls?: boolean;
  /** Whether sending the request twice has another effect than sending it once. */
  isOnce?: boolean;
}
/** Makes requests that have one response, and repeats those that may succeed later. */
declare class Api {
  private readonly service;
  constructor(service: Service);
  /** Resolves with the JSON of the response, or with null if it has none. Rejects as `send` does. */
  json<T>(method: string, path: string, call?: ApiCall): Promise<T>;
  /** Resolves with a response that reports success. Rejects with a RunFailed, or with the reason of the signal. */
  send(method: string, path: string, call?: ApiCall): Promise<Response>;
  private attempt;
  private failure;
}
//#endregion
//#region src/resources.d.ts
/** A part of a list. `cursor` is the `next_cursor` of the part before. */
type Page = {
  limit?: number | undefined;
  cursor?: string | undefined;
};
/** `q` has words that the titles of sessions contain. */
type SessionsQuery = Page & {
  q?: string | undefined;
};
type RunsQuery = Page & {
  session_id?: string | undefined;
  status?: RunStatus | undefined;
};
type MessagesQuery = Page & {
  run_id?: string | undefined;
  tree?: boolean | undefined;
};
declare class RunsResource {
  private readonly api;
  constructor(api: Api);
  /** Resolves with runs, the latest first. */
  list(query?: RunsQuery): Promise<RunList>;
  get(id: string): Promise<RunRecord>;
  /** Resolves with the events after `after` that exist now. */
  events(id: string, {
    after
  }?: {
    after?: number | undefined;
  }): Promise<StreamEvent[]>;
  /** Starts a run in the background. It needs no reader. */
  start(input: string | AgentRequest, options?: {
    idempotencyKey?: string | undefined;
  }): Promise<RunRecord>;
  delete(id: string): Promise<null>;
}
declare class SessionsResource {
  private readonly api;
  constructor(api: Api);
  /** Resolves with sessions, the latest first. A page of a search can have fewer than `limit`. */
  list(query?: SessionsQuery): Promise<SessionList>;
  get(id: string): Promise<Session>;
  create(body?: SessionCreate): Promise<Session>;
  update(id: string, body: SessionUpdate): Promise<Session>;
  delete(id: string): Promise<null>;
  /** Resolves with messages: of the branch that ends with `run_id`, of the latest branch, or with `tree` of all. */
  messages(id: string, query?: MessagesQuery): Promise<MessageList>;
  runs(id: string, query?: RunsQuery): Promise<RunList>;
}
//#endregion
//#region src/failures.d.ts
/** An error. `code` is one of the service's, or of the client's: `network`, `incomplete`, `restarted`, `not_stopped`, `http_…`, `callback`. */
interface AgentError {
  code: string;
  message: string;
  retryable: boolean;
  request_id?: string;
  retry_after?: number;
  /** The run that is in the way, if there is one (`session_busy`). */
  run_id?: string;
  details?: {
    loc: string;
    message: string;
  }[];
}
/** A run failed, was refused, or can't be read to its end. */
declare class RunFailed extends Error {
  override readonly name = "RunFailed";
  readonly error: AgentError;
  /** Whether another try is useless. */
  readonly isFinal: boolean;
  /** Whether the service no longer has the run. */
  readonly isGone: boolean;
  constructor(error: AgentError, {
    isFinal,
    isGone
  }?: {
    isFinal?: boolean;
    isGone?: boolean;
  });
  get code(): string;
  /** Whether the same request may succeed later. */
  get retryable(): boolean;
}
/** The text about an error for end users. */
declare function explain({
  code,
  message,
  details
}: AgentError): string;
//#endregion
//#region src/state.d.ts
/** `stopping` is the time between `stop()` and the service's confirmation. */
type AgentStatus = "idle" | "connecting" | "streaming" | "waiting" | "reconnecting" | "stopping" | Complete["status"];
/**
* A tool call so far. `arguments` is set once the call is complete, `result` once it has ended. The arguments are the model's;
* `madeWith` returns those that the call is made with. Show `arguments_text`, because JavaScript rounds numbers in `arguments`.
*/
interface ToolCall {
  tool_call_id: string;
  name: string;
  source: ToolSource;
  server?: string;
  arguments_text: string;
  arguments?: Record<string, unknown>;
  /** The person's decision is due by `expires_at`. */
  approval_request?: EventData["approval_request"];
  approval_response?: EventData["approval_response"];
  progress?: EventData["tool_progress"];
  result?: EventData["tool_result"];
}
/** A call that the run waits for: answered by `approve` or `refuse`, or by `sendToolResult` or `clientTools`. */
interface PendingCall {
  tool_call_id: string;
  name: string;
  kind: "approval" | "client";
  arguments: Record<string, unknown>;
  /** The JSON of `arguments` with every digit: what a person has to see. */
  arguments_text: string;
  /** When the service refuses an approval by itself: UTC, RFC 3339. */
  expires_at?: string;
}
/** A piece of an answer. */
type Part = {
  type: "thinking";
  text: string;
} | {
  type: "text";
  text: string;
} | {
  type: "tool_call";
  call: ToolCall;
};
/** A question, or the whole answer of a run, which may still be under way. */
interface Message {
  message_id: string;
  /** Empty for a question until the service has accepted it. */
  run_id: string;
  role: "user" | "assistant";
  /** The question's content, or the text of the answer's last model turn so far. */
  content: Content | null;
  /** The pieces of an answer, in order. A question has none. */
  parts: Part[];
  /** While the run is under way: how many of the parts are of earlier model turns. A restarted turn keeps only these. */
  earlier_parts?: number;
  /** The web pages that an answer cites, each once. Absent if there are none. */
  sources?: Source[];
  /** While the run is under way: how many of the sources are of earlier model turns. */
  earlier_sources?: number;
  /** The value of an answer to a question with an `output_schema`, once it was checked. */
  data?: unknown;
  /** The JSON of `data` with every digit: JavaScript rounds numbers in `data`. */
  data_text?: string;
  /** The number of answers until one matched the `output_schema`. */
  attempts?: number;
  /** The model that the latest model turn of an answer is from. */
  answered_by?: string;
  status: RunStatus;
  error?: AgentError;
  /** The last event of an answer that this page has read: its usage, steps and durations. */
  complete?: Complete;
  /** The runs with other versions of this question or of its answer, and the place of this one among them. */
  branches?: {
    runIds: string[];
    index: number;
  };
}
/** How much of the session is known. */
interface History {
  /** Whether the session's messages were loaded. Until then, nothing can be said about a session without messages. */
  isLoaded: boolean;
  /** Why they can't be loaded for now. They are loaded as soon as the service can be reached again. */
  error: AgentError | null;
}
interface RunState {
  /** The session's conversation. Without a session, the latest question and its answer. */
  messages: Message[];
  status: AgentStatus;
  runId: string | null;
  /** Whether this page makes the calls of its tools, because it asked the question or attached itself to the run. */
  isOurs: boolean;
  /** The calls that the run waits for. */
  pending: PendingCall[];
  /** The budget, while the run waits for a larger one: answered by `raiseBudget` or `refuseBudget`. */
  budget: PendingBudget | null;
  /**
  * Why the run failed; while `status` is `connecting` or `reconnecting`, why the service can't be reached; while it is
  * `waiting`, why an answer has not arrived. It is sent until it does.
  */
  error: AgentError | null;
  /** The tokens that the run has used, once it has ended. */
  usage?: Usage;
  history: History;
}
/** The state before the first question. `fold` begins with it to show a stored run. */
declare const IDLE: RunState;
/** The tool calls among the pieces of an answer. */
declare function callsIn(parts: Part[]): ToolCall[];
/** Returns the JSON of the arguments that a call is made with: a person's, if they were changed, or else the model's. */
declare function madeWith({
  arguments_text,
  approval_response
}: ToolCall): string;
/** Whether the run waits for answers to calls, or for a larger budget. */
declare function isWaiting({
  pending,
  budget
}: Pick<RunState, "pending" | "budget">): boolean;
/** Whether a run, or the run of a message, has not ended. */
declare function isUnfinished({
  status
}: {
  status: RunStatus;
}): boolean;
/** A message's content as text, with the URLs of its images. */
declare function textOf(content: Content): string;
/** A value that is still being written: members may be missing. */
type PartialData<T> = T extends object ? { [Key in keyof T]?: PartialData<T[Key]> } : T;
/** The run of a state in brief. `T` is the type of an answer to a question with an `output_schema`. */
interface LatestAnswer<T = unknown> {
  /** Whether a run is under way, or waits, and was not stopped. */
  isStreaming: boolean;
  /** The reasoning in the answer of `runId`. */
  thinking: string;
  /** The text of the model's last turn so far. At the end, it is the whole answer. */
  output: string;
  /** The tool calls in the answer of `runId`. */
  toolCalls: ToolCall[];
  /** The web pages that the answer of `runId` cites. */
  sources: Source[];
  /** The value of the answer, once it was checked against the `output_schema`. Undefined before. */
  data: T | undefined;
  /** As much of the value as has been written, not checked, and at the end `data`. */
  partial: PartialData<T> | undefined;
}
/** Returns the run of a state in brief. */
declare function latestAnswer<T = unknown>(state: RunState): LatestAnswer<T>;
//#endregion
//#region src/run_reader.d.ts
/** The part of a page, or of a program, that a RunReader uses. */
interface RunPage {
  /** Whether the run is the one that the page shows. */
  isCurrent: () => boolean;
  /** Whether the run waits for answers. */
  isWaiting: () => boolean;
  change: (change: (state: RunState) => RunState) => void;
  /** Called with the run's id as soon as it is known. */
  learn: (runId: string) => void;
  /** Called with new events. Returns the data of `complete`. */
  take: (frames: Frame[]) => Complete | null;
  /** Makes the calls of the page's tools that the run waits for. */
  makeCalls: () => void;
}
/** The stream in the response to an answer, with its slot if it has one. */
interface Resumed {
  stream: EventStream;
  slot: Slot | null;
}
/**
* Reads a run to its end, over as many connections as necessary: without one while the run waits, and by polling while
* other pages hold the streams.
*/
declare class RunReader {
  /** Closes the connection for a while, because another tab needs one. */
  giveWay: () => void;
  private readonly service;
  private readonly run;
  private readonly page;
  private readonly requests;
  private readonly leaving;
  /** Connections in a row that brought nothing new. */
  private failures;
  /** How long the service asks the client to wait before it reconnects. */
  private awayMs;
  /** Until then, this tab leaves the streams to others. */
  private yieldsUntil;
  private isResting;
  private resumed;
  /** Whether this page has closed the latest stream before its end. */
  private hasClosed;
  /**
  * The slot of a stream that this page has closed. It is released after the next response: before that, the browser may
  * still hold the connection, and another tab would open a stream too many.
  */
  private closing;
  private isWoken;
  private endRest;
  constructor(service: Service, run: FollowedRun, page: RunPage);
  get signal(): AbortSignal;
  /** Resolves once there is a response to the question, whatever it is. Then the run's id is known, if it has one. */
  answered(): Promise<void>;
  /** Stops reading. The run itself continues. */
  leave(): void;
  /** Ends the current pause, or else the next one. */
  wake(): void;
  /** Takes a slot for the stream in the response to an answer. Resolves with null if none is free, or none is needed. */
  slotForAnswer(): Promise<Slot | null>;
  /** Accepts the stream in the response to an answer. One is enough. */
  resume(resumed: Resumed): void;
  /** Resolves with the data of `complete`, or with null if the page has left the run. Throws a RunFailed. */
  read(): Promise<Complete | null>;
  private takeSlot;
  private handOver;
  /** Reads one connection. Returns `complete`, or null when another connection is needed or the run waits. */
  private stream;
  /** Reads the events so far, because all streams are taken, and waits for the next look. */
  private poll;
  /** Resolves with the error of a run that has failed, or with null if the page has left the run. Throws a RunFailed. */
  error(): Promise<AgentError | null>;
  /** Opens a stream of the events after the last one read. Resolves with null if there are none, or after `leave`. */
  private connect;
  /** Makes a request, and tries again until it succeeds or another try is useless. Resolves with null after `leave`. */
  private persist;
  private countFailure;
  private readStream;
  /** Notes that the service has responded, with these frames. */
  private heard;
  /**
  * Waits without a connection until the run has resumed, because a browser has six connections for all tabs. Resolves with
  * the stream in the response to an answer of this page, or with null if the answer came from elsewhere.
  */
  private untilResumed;
  /** Checks from time to time, while the page is visible, for an answer from elsewhere. */
  private untilLooked;
  private hasResumed;
  private rest;
}
//#endregion
//#region src/followed_run.d.ts
interface AboutRun {
  id?: string;
  key?: string | undefined;
  asked?: AgentRequest | SimulateRequest | null;
  route?: string;
  isOurs: boolean;
  takesOver?: boolean;
  isStopped?: boolean;
  isInDoubt?: boolean;
  onEvent?: OnEvent | undefined;
}
/** A run that is followed here. */
declare class FollowedRun {
  id: string | null;
  readonly key: string;
  /** The request that starts the run; null for a run that has already started. */
  readonly asked: AgentRequest | SimulateRequest | null;
  /** Where it is sent. */
  readonly route: string;
  /** Whether this page makes the calls of its tools. */
  isOurs: boolean;
  /** Whether it does so in place of a page that may still be there. */
  takesOver: boolean;
  /** Whether no other page makes them, although it takes the run for its own as well. */
  isGranted: Promise<boolean>;
  readonly onEvent: OnEvent | undefined;
  /** The JSON of the arguments of its calls, by their id. */
  readonly calls: Map<string, string>;
  lastSeq: number;
  /** Whether there has been a connection to its events. */
  wasConnected: boolean;
  /** Whether `complete` was read, the run was stopped, or the service no longer has it. */
  isOver: boolean;
  /** Whether it was stopped here. The service has to be asked to cancel it until it has confirmed that. */
  isStopped: boolean;
  /** Whether there may be a run, although its id is unknown: a request that asks it had no response. */
  isInDoubt: boolean;
  /** Whether the service has lost or deleted it. */
  isGone: boolean;
  /** The reader that reads it, or the last one that did. */
  reader: RunReader | null;
  constructor(about: AboutRun);
  /** Whether it is a question that may not have reached the service. */
  get isUnsent(): boolean;
  get path(): string;
}
//#endregion
//#region src/run.d.ts
/**
* A run of the agent. Iterate over it for its events, from the first, each once and in order. It is read from the moment
* it is made, over as many connections as necessary, whether or not anybody iterates.
*
* The iteration ends after `complete`. It throws a RunFailed if the run failed or can't be read to its end.
*/
declare class Run implements AsyncIterable<StreamEvent> {
  /** Resolves with the run's id as soon as it is known. */
  readonly started: Promise<string>;
  /** Resolves with the data of the last event. Rejects with a RunFailed if the run failed or can't be read to its end. */
  readonly complete: Promise<Complete>;
  private readonly service;
  private readonly run;
  private readonly reader;
  private readonly answers;
  private readonly clientCalls;
  private readonly events;
  private state;
  private isOver;
  private news;
  private learn;
  constructor(service: Service, run: FollowedRun, signal?: AbortSignal);
  /** The run's id, or null until it is known. */
  get id(): string | null;
  /** As much of the answer's value as has been written, and at the end the one that matches the `output_schema`. */
  get data(): unknown;
  /** The budget, while the run waits for a larger one. */
  get budget(): PendingBudget | null;
  [Symbol.asyncIterator](): AsyncGenerator<StreamEvent, void, undefined>;
  /**
  * The pieces of the answer. If the service drops pieces that were yielded and begins again, it calls `onRestart`: remove
  * what you have shown of the present model turn. Without `onRestart`, the iteration throws a RunFailed there, because
  * pieces of two attempts are no answer. The run continues, and `complete` and the events have its answer.
  */
  text({
    onRestart
  }?: {
    onRestart?: OnRestart;
  }): AsyncGenerator<string, void, undefined>;
  /** Cancels the run. Its last event says so. */
  cancel(): Promise<void>;
  /** Approves a call, perhaps with other arguments. Rejects with a RunFailed if the service refuses the decision. */
  approve(callId: string, changes?: Changes): Promise<void>;
  /** Refuses a call. The model receives the reason. */
  refuse(callId: string, reason?: string): Promise<void>;
  /** Sets new totals of a budget that is spent, so that the run resumes. Rejects with a RunFailed if they are refused. */
  raiseBudget(totals: BudgetTotals): Promise<void>;
  /** Ends the run, whose budget is spent. It then fails with `budget_exceeded`. */
  refuseBudget(): Promise<void>;
  /** Sends the result of a call of the client's own tools that `clientTools` doesn't handle. */
  sendToolResult(callId: string, content: Json, {
    isError
  }?: {
    isError?: boolean;
  }): Promise<void>;
  private decide;
  private send;
  private readerOf;
  private read;
  private know;
  /** Keeps the events for those who iterate. Returns the data of `complete`. */
  private take;
}
//#endregion
//#region src/client.d.ts
interface ReadOptions {
  /** Ends the reading. The service then treats the run as one without a reader (`on_disconnect`). */
  signal?: AbortSignal | undefined;
  /** Called once with each event, in order. For inspectors. */
  onFrame?: ((frame: Frame) => void) | undefined;
  /** Tools that this program runs, by name. */
  clientTools?: Record<string, ClientTool> | undefined;
}
interface AttachOptions extends ReadOptions {
  /** The last event that is already known. */
  after?: number | undefined;
}
interface StreamOptions extends ReadOptions {
  /** The same key and request within 24 hours are the same run. By default, each request has a new one. */
  idempotencyKey?: string | undefined;
}
/** The client of a service. It has no state: each run is an object of its own. Its promises reject with a RunFailed. */
declare class AgentStream {
  readonly runs: RunsResource;
  readonly sessions: SessionsResource;
  private readonly options;
  private readonly api;
  constructor(options?: ServiceOptions);
  /** Asks the agent. The request is sent at once. */
  stream(input: string | AgentRequest, options?: StreamOptions): Run;
  /** Plays a script in place of a model's answer, for tests and demonstrations. */
  simulate(request: SimulateRequest, options?: StreamOptions): Run;
  /** Reads a run from the event after `after` on, and makes the calls of `clientTools` that it reads. */
  attach(runId: string, {
    after,
    signal,
    ...options
  }?: AttachOptions): Run;
  /** Asks the agent, and resolves with the whole answer, or with the calls that the run waits for. */
  execute<T = unknown>(input: string | AgentRequest, {
    signal,
    idempotencyKey
  }?: Pick<StreamOptions, "signal" | "idempotencyKey">): Promise<AgentResponse<T>>;
  /** Cancels a run. Resolves when the service has accepted that. */
  cancel(runId: string): Promise<RunRecord>;
  /** Decides on a call that needs approval. The run resumes when each call that it waits for has its answer. */
  approve(runId: string, callId: string, decision?: Decision): Promise<RunRecord>;
  /** Sends the results of calls of the client's own tools. */
  toolResults(runId: string, results: ClientToolResult[]): Promise<RunRecord>;
  models(): Promise<ModelList>;
  tools(): Promise<ToolList>;
  mcpServers(): Promise<McpServerList>;
  private start;
}
//#endregion
//#region src/questions.d.ts
/**
* A question for a conversation. A key that is undefined counts as left out. With a `scenario`, the service plays a script
* in place of a model's answer.
*/
type Question = Loose<AgentRequest & Pick<SimulateRequest, "scenario" | "delay_ms">> & Pick<AgentRequest, "input">;
//#endregion
//#region src/conversation.d.ts
/**
* A conversation with the agent, as a page shows it. Starts, follows and stops one run at a time. Use `get` and `subscribe`
* with any view library; `mount` connects it to the service.
*/
declare class Conversation {
  private readonly view;
  private readonly service;
  private readonly follower;
  private readonly session;
  private readonly answers;
  private readonly stopping;
  private place;
  constructor(options?: ConversationOptions);
  /** Returns the state. It is another object after each change, and an unchanged message stays the same object. */
  get: () => RunState;
  /** Calls `listener` after each change. Returns a function that stops this. */
  subscribe: (listener: () => void) => (() => void);
  /** Replaces the options. After a change of `baseUrl`, `storageKey` or `sessionId`, mount the conversation again. */
  configure: (options: ConversationOptions) => void;
  /**
  * Follows the run that was under way when this page was left, or asks the question that had not arrived. The state is kept if the conversation is only mounted again,
  * as React does for <Activity> and in StrictMode. Returns a function that stops following.
  */
  mount: () => (() => void);
  /**
  * Asks the agent, and calls `onEvent` with each event, once and in order. A run under way is stopped first.
  *
  * Resolves with the data of `complete`, whatever its status. Resolves with null if the run was not read to its end,
  * because it was stopped, the page was left, or an error occurred here; see `status` and `error`. Rejects only
  * with an exception of `onEvent`. In a session, or with `storageKey`, the service finishes a run that has no reader
  * (`on_disconnect`).
  */
  stream: (input: string | Question, onEvent?: OnEvent) => Promise<Complete | null>;
  /**
  * Follows any run from its first event, and from now on makes its calls of `clientTools`, in place of a page that is gone.
  * A run that was followed until now continues by itself.
  */
  attach: (runId: string, onEvent?: OnEvent) => Promise<Complete | null>;
  /**
  * Tries at once, also after `failed`, to read the rest of the run, to send a question or an answer that has not arrived, to
  * cancel a run that was stopped, and to load a session that could not be loaded. Resolves with null if there is nothing to read.
  */
  reconnect: () => Promise<Complete | null>;
  /**
  * Tries again after a failure: cancels a run that was not stopped, reads the rest of a run that was not read to its end, or else
  * asks the last question again. Resolves like `stream`.
  */
  retry: (onEvent?: OnEvent) => Promise<Complete | null>;
  /**
  * Asks the last question again, and in a session replaces its answer. The request is the same if this page made it.
  * Resolves like `stream`, and with null if there is no question.
  */
  regenerate: (onEvent?: OnEvent) => Promise<Complete | null>;
  /**
  * Cancels the run at the service and stops reading. The status is `stopping` until the service has confirmed it, and then
  * this resolves. While the service can't be reached, it is tried again, with `storageKey` also after a reload; after some
  * seconds, the status is `failed` with the error `not_stopped`, and `stop` may be called again. A run that had ended before is
  * shown to its own end.
  */
  stop: () => Promise<void>;
  /**
  * Approves a call of `pending`. The run resumes when each call has its answer. Resolves with null if the service has
  * accepted the answer, and otherwise with the error, such as invalid arguments (`details`) or an answer from elsewhere
  * (`tool_call_answered`). With `storageKey`, an answer that has not arrived is sent again after a reload. The next four
  * functions do the same. None of them rejects.
  */
  approve: (callId: string, changes?: Changes) => Promise<AgentError | null>;
  /** Refuses a call of `pending`. The model receives the reason. */
  refuse: (callId: string, reason?: string) => Promise<AgentError | null>;
  /** Sets new totals of a budget that is spent, so that the run resumes. A total that is left out stays as it is. */
  raiseBudget: (totals: BudgetTotals) => Promise<AgentError | null>;
  /** Ends the run, whose budget is spent. It then fails with `budget_exceeded`. */
  refuseBudget: () => Promise<AgentError | null>;
  /** Sends the result of a call of the kind `client` that `clientTools` doesn't handle. */
  sendToolResult: (callId: string, content: Json, {
    isError
  }?: {
    isError?: boolean | undefined;
  }) => Promise<AgentError | null>;
  /**
  * Shows the branch of the session with this run, such as one of a question's `branches`, or with null the latest branch.
  * The next question continues it.
  * A run of another branch that was followed until now continues by itself. Resolves once the branch is up to date.
  */
  showBranch: (runId: string | null) => Promise<void>;
  /** Follows a run, after it was cancelled if it has been stopped before. */
  private resume;
  /** A question that takes another one's place has versions, which the session knows. */
  private started;
  private forget;
  private decide;
  private decideBudget;
  private send;
}
//#endregion
//#region src/exact_json.d.ts
/** Returns JSON in lines, as `JSON.stringify` lays it out, but with each number as it is written. Throws a SyntaxError. */
declare function prettyJson(json: string): string;
//#endregion
//#region src/folding.d.ts
/** The state after events of a run. They are folded together, because a copy of the messages for each costs too much. */
declare function fold(state: RunState, runId: string, events: StreamEvent[]): RunState;
//#endregion
//#region src/partial_json.d.ts
/**
* Returns as much of a JSON object or array as has been written, perhaps in a code fence. Undefined if there is none. The
* last string may be a part of the one that is meant. A number or a word counts once something follows it.
*/
declare function partialJson(text: string): unknown;
//#endregion
//#region src/unsent.d.ts
/** Returns the question that has not arrived yet, or null. */
declare function unsentIn(messages: Message[]): Message | null;
/** Whether a question that had not arrived is neither sent again nor in the conversation: it was refused or stopped. */
declare function isReturned(sent: Message | null, messages: Message[]): sent is Message;
//#endregion
export { type AgentError, type AgentRequest, type AgentResponse, type AgentStatus, AgentStream, type ApprovalDecision, type ArgumentsText, type AttachOptions, type BudgetTotals, type Changes, type ClientTool, type ClientToolInfo, type ClientToolResult, type Complete, type Content, Conversation, type ConversationOptions, type DataText, type Decision, type EventData, type Frame, type FunctionCall, type History, IDLE, type Json, type LatestAnswer, type Loose, type McpServerInfo, type McpServerList, type Message, type MessageList, type MessagesQuery, type ModelInfo, type ModelList, type OnEvent, type OnRestart, type Page, type Part, type PartialData, type PendingBudget, type PendingCall, type Question, type ReadOptions, Run, RunFailed, type RunList, type RunRecord, type RunState, type RunStatus, type RunsQuery, type RunsResource, type Scenario, type ServiceOptions, type Session, type SessionCreate, type SessionList, type SessionMessage, type SessionUpdate, type SessionsQuery, type SessionsResource, type SimulateRequest, type Source, type StreamEvent, type StreamOptions, type ToolCall, type ToolInfo, type ToolList, type ToolSource, type Usage, callsIn, eventIn, eventsIn, explain, fold, type given, isReturned, isUnfinished, isWaiting, latestAnswer, madeWith, partialJson, prettyJson, textOf, unsentIn };